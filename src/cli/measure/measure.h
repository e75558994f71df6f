// `cairn measure`: predicts what a machine must report, and reads the logs of one that did. docs/measure.md.
#pragma once

namespace CLI {
class App;
}

namespace cairn::cli {

// Adds the verb with its four parts (boot, runtime, files, log) to `app`; its run sets `exit_code`: 0 done, 1 an input
// cannot be read or used.
void add_measure(CLI::App& app, int& exit_code);

}  // namespace cairn::cli
