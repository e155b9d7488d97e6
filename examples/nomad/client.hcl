# A client of Nomad that runs VMs by vm.nomad.hcl: a file in its configuration directory. Without max_kill_timeout a task
# has 30 s at most, whatever its kill_timeout.
client {
  enabled          = true
  max_kill_timeout = "400s"
}

plugin "raw_exec" {
  config {
    enabled = true
  }
}
