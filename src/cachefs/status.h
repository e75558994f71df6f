// What a mount says about itself: counters, readiness, progress of the load. Answers come from the memory that
// supervisor and workers share, so they do not wait for either.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/json.h"
#include "cachefs/model.h"
#include "cachefs/resident.h"

namespace cairn::cachefs {

// Serving, nothing refused by --fail-closed, and preloaded as far as was asked.
[[nodiscard]] bool is_ready(const Model& model);
[[nodiscard]] const char* mode_in_force(const Model& model, const Resident* resident);
// {"ready", "mode", counters, "files": [{"path", "size", "loaded"}]}; `names`: plain paths, else ciphertext paths.
[[nodiscard]] Json status_json(const Model& model, const Resident* resident, bool names);
// The counters in Prometheus' text form; also the content of the mount's .stats file.
[[nodiscard]] std::string metrics_text(const Model& model);

// GET /livez, /readyz, /status and /metrics on options.status, by a process of its own: it answers while the model is
// verified and while a worker is being replaced. Nothing where options.status is empty. One thread.
class StatusProcess {
 public:
  StatusProcess(const Model& model, const Resident* resident);
  ~StatusProcess();
  StatusProcess(const StatusProcess&) = delete;
  StatusProcess& operator=(const StatusProcess&) = delete;
  // After a SIGCHLD.
  void replace_if_ended();

 private:
  void start();
  const Model& model_;
  const Resident* resident_;
  pid_t process_ = -1;
};

}  // namespace cairn::cachefs
