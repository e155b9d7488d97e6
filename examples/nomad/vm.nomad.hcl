# A VM as a job of Nomad, by its raw_exec driver: nomad job run vm.nomad.hcl
# The client must allow that, and so long a kill_timeout: client.hcl. The disk is /var/lib/qemu-supervise/web/root.qcow2 on
# it. `vmconf` works there as ever, but `nomad job stop` stops the VM.
#
# Nomad was not run by our tests: they compare the keys with its documentation, and do what its driver does with the task.
job "web" {
  type = "service"

  # The disk is in one place. On storage that several hosts share, file locks that hold across them must keep a second one
  # from starting the VM: Nomad starts it elsewhere when it hears nothing from a client, which may still run it.
  constraint {
    attribute = "${attr.unique.hostname}"
    value     = "host1"
  }

  group "web" {
    count = 1

    # A guest that powers itself off is started again, as any service. A VM that cannot start is given up after a while.
    restart {
      attempts = 5
      interval = "10m"
      delay    = "15s"
      mode     = "fail"
    }

    task "web" {
      driver = "raw_exec"

      # Nobody but root may be able to write where a definition is, so it cannot stay in the task's directory. exec: TERM
      # must reach the supervisor, not a shell.
      config {
        command = "/bin/sh"
        args    = ["-c", "install -D -m 600 local/web.json /etc/qemu-supervise/web.json && exec /usr/local/bin/qemu-supervise web"]
      }

      # TERM's ladder takes 220 s (qemu-supervise --print web), a guest that still boots boot-timeout (120 s) more, and a
      # flush of the disks 30 s. KILL then takes QEMU, too: it is in the task's control group.
      kill_signal  = "SIGTERM"
      kill_timeout = "380s"

      # Another definition takes effect at the VM's next start.
      template {
        destination = "local/web.json"
        change_mode = "noop"
        data        = <<EOT
{
  "cpus": 2,
  "memory": "2G",
  "disks": [{ "path": "root.qcow2", "format": "qcow2", "discard": "unmap" }],
  "nics": [{ "type": "user" }]
}
EOT
      }

      resources {
        cpu    = 2000
        memory = 2304
      }
    }
  }
}
