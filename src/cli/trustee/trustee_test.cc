#include "cli/trustee/trustee.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace cairn::cli {
namespace {

int run(std::string line) {
  CLI::App app;
  int exit_code = -1;
  add_trustee(app, exit_code);
  try {
    app.parse(std::move(line));
  } catch (const CLI::ParseError&) {
    return 99;
  }
  return exit_code;
}

TEST(TrusteeVerbs, NamesAreThoseOfKbsClient) {
  CLI::App app;
  int exit_code = 0;
  add_trustee(app, exit_code);
  const auto* config = app.get_subcommand("config");
  for (const char* verb :
       {"set-resource", "delete-resource", "list-resources", "set-resource-policy", "get-resource-policy",
        "set-attestation-policy", "get-attestation-policy", "delete-attestation-policy", "list-attestation-policies",
        "register-reference-values", "delete-reference-value"})
    EXPECT_NO_THROW((void)config->get_subcommand(verb)) << verb;
}

TEST(TrusteeVerbs, WhatIsMissingIsSaid) {
  EXPECT_EQ(run(""), 99) << "a verb is needed";
  EXPECT_EQ(run("config list-resources"), 99) << "the key is needed";
  EXPECT_EQ(run("config --auth-private-key /nonexistent list-resources"), 1);
  EXPECT_EQ(run("--url http://127.0.0.1:1/api status"), 1) << "nobody listens there";
}

}  // namespace
}  // namespace cairn::cli
