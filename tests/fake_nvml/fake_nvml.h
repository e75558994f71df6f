// What the fake management library asks the process that loaded it for, where told to: evidence with signatures.
#pragma once

#include <string>

struct FakeDevice {
  virtual ~FakeDevice() = default;
  virtual std::string report(unsigned index, const unsigned char nonce[32]) = 0;  // request and response
  virtual std::string certificate(unsigned index) = 0;                            // PEM, leaf first
};
