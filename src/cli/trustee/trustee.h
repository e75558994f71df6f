// `cairn trustee …`: the administrator's verbs, those of kbs-client and rvps-tool. docs/cairn-trustee.md.
#pragma once

namespace CLI {
class App;
}

namespace cairn::cli {

// Adds the verbs to `app`; the one that runs sets `exit_code` (0; 1: failed).
void add_trustee(CLI::App& app, int& exit_code);

}  // namespace cairn::cli
