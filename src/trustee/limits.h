// Every bound of the Trustee's parts. A test stands at each limit and one past it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace cairn::trustee::limits {

// Requests.
inline constexpr std::size_t kBody = 8U << 20;     // whatever the configuration says, no body is larger
inline constexpr std::size_t kDefaultBodyMiB = 2;  // payload_request_size
inline constexpr std::size_t kEvidences = 16;      // in one attestation request
inline constexpr std::size_t kPolicyIds = 16;      // in one attestation request
inline constexpr std::size_t kPolicyId = 128;      // bytes
inline constexpr std::size_t kTeeName = 32;
inline constexpr std::size_t kAaInstanceInfo = 4096;  // bytes of the header

// Stored policies.
inline constexpr std::size_t kPolicyText = 1U << 20;
inline constexpr std::size_t kPolicies = 256;
inline constexpr std::uint64_t kPolicyInstructions = 20'000'000;  // for one evaluation
inline constexpr std::size_t kReasons = 32;                       // reported of one denial
inline constexpr std::size_t kReasonText = 512;

// Reference values.
inline constexpr std::size_t kReferenceNames = 20'000;
inline constexpr std::size_t kReferenceName = 512;
inline constexpr std::size_t kReferenceValues = 4096;  // of one name
inline constexpr std::size_t kReferenceFile = 64U << 20;

// Sessions of the key broker.
inline constexpr std::size_t kSessions = 100'000;
inline constexpr std::size_t kVerifiedTokens = 4096;  // cached by the key broker

// Collateral. A request that waits longer is refused as retryable while the fetch goes on.
inline constexpr std::chrono::seconds kCollateralWait{20};
inline constexpr unsigned kPendingRounds = 4;  // times that a request is looked at; the last waits for nothing

// Resources.
inline constexpr std::size_t kResource = 1U << 20;    // bytes of one
inline constexpr std::size_t kResourceSegment = 255;  // bytes of a name's segment
inline constexpr std::size_t kResourceList = 100'000;

// Audit.
inline constexpr std::size_t kAuditQueue = 8192;        // records waiting for the database; past it they are dropped
inline constexpr std::size_t kAuditText = 512;          // bytes of one text field
inline constexpr std::size_t kAuditClaims = 64U << 10;  // bytes of a token's claims; larger ones are not recorded
inline constexpr std::size_t kAuditPage = 10'000;       // rows of one answer
inline constexpr std::size_t kHeartbeatInstances = 10'000;

}  // namespace cairn::trustee::limits
