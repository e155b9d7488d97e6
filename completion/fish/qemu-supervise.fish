# Fish completion for qemu-supervise(8): beside that of vmconf, which does both.

source (status dirname)/vmconf.fish
