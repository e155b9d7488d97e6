#include "vm/otherkeys.h"

#include <stddef.h>
#include <strings.h>

#include "lib/array.h"

#define INSTEAD(text) "; write " text " instead"

#define NICS	INSTEAD("\"nics\": [{\"type\": \"user\"}]")
#define FORWARD INSTEAD("\"nics\": [{\"type\": \"user\"}], \"forwards\": [\"8080:80\"]")
#define DISKS	INSTEAD("\"disks\": [{\"path\": \"root.qcow2\", \"format\": \"qcow2\"}]")
#define SHARE	INSTEAD("\"shares\": [{\"path\": \"/srv/data\", \"tag\": \"data\"}]")
#define HELPER                                                                                     \
	INSTEAD("\"helpers\": [{\"run\": [\"passt\", \"--foreground\", \"--one-off\", "            \
		"\"--socket\", "                                                                   \
		"\"passt.sock\"], \"socket\": \"passt.sock\"}]")
#define BOOT                                                                                       \
	"; the order of booting is that of \"properties\": {\"bootindex\": 1} of disks and nics"
#define VIDEO INSTEAD("\"display\": \"gtk\", or \"args\": [\"-device\", \"virtio-vga\"]")
#define USB                                                                                        \
	INSTEAD("\"args\": [\"-device\", \"qemu-xhci\", \"-device\", "                             \
		"\"usb-host,vendorid=0x1234,productid=0x5678\"]")
#define HOSTDEV	  INSTEAD("\"args\": [\"-device\", \"vfio-pci,host=0000:01:00.0\"]")
#define HUGEPAGES INSTEAD("\"args\": [\"-mem-path\", \"/dev/hugepages\", \"-mem-prealloc\"]")
#define PANIC	  INSTEAD("\"pvpanic\": true, \"on\": {\"GUEST_PANICKED\": \"reset\"}")
#define SNAPSHOT  "; \"vmconf clone NAME NEW --linked\" makes a VM whose changes can be thrown away"
#define RNG	  INSTEAD("\"args\": [\"-device\", \"virtio-rng-pci\"]")
#define SOUND                                                                                      \
	INSTEAD("\"args\": [\"-audiodev\", \"pa,id=snd\", \"-device\", \"ich9-intel-hda\", "       \
		"\"-device\", \"hda-duplex,audiodev=snd\"]")
#define STOP INSTEAD("\"on\": {\"TERM\": \"powerdown 90s, quit 10s, kill\"}")

static const struct {
	const char *key, *hint;
} rows[] = {
	{"name", "; the name of a VM is that of its file"},
	{"autostart", "; \"vmconf enable\" has a VM started when the host boots"},
	{"onboot", "; \"vmconf enable\" has a VM started when the host boots"},
	{"ram", INSTEAD("\"memory\": \"2G\"")},
	{"mem", INSTEAD("\"memory\": \"2G\"")},
	{"vcpus", INSTEAD("\"cpus\": 2")},
	{"cores", INSTEAD("\"cpus\": 2")},
	{"smp", INSTEAD("\"cpus\": 2")},
	{"arch", INSTEAD("\"emulator\": \"qemu-system-aarch64\"")},
	{"bios", INSTEAD("\"firmware\": \"bios\"")},
	{"uefi", INSTEAD("\"firmware\": \"uefi\"")},
	{"efi", INSTEAD("\"firmware\": \"uefi\"")},
	{"cmdline", INSTEAD("\"kernel\": \"vmlinuz\", \"append\": \"console=ttyS0\"")},
	{"disk", DISKS},
	{"drive", DISKS},
	{"drives", DISKS},
	{"image", DISKS},
	{"iso", INSTEAD("\"cdrom\": \"install.iso\"")},
	{"nic", NICS},
	{"net", NICS},
	{"netdev", NICS},
	{"network", NICS},
	{"networks", NICS},
	{"bridge", INSTEAD("\"nics\": [{\"type\": \"bridge\", \"br\": \"br0\"}]")},
	{"ports", FORWARD},
	{"port", FORWARD},
	{"forward", FORWARD},
	{"hostfwd", FORWARD},
	{"ssh", FORWARD},
	{"serial", INSTEAD("\"console\": \"socket\"")},
	{"qmp", "; every VM has a QMP socket: \"vmconf qmp NAME COMMAND\""},
	{"monitor", "; every VM has a QMP socket: \"vmconf qmp NAME COMMAND\""},
	{"guest-agent", INSTEAD("\"agent\": true")},
	{"hostname", INSTEAD("\"cloud-init\": {\"hostname\": \"web1\"}")},
	{"ssh-keys", "; it is a key of \"cloud-init\""},
	{"user-data", INSTEAD("\"cloud-init\": {\"user-data\": \"user-data\"}")},
	{"cloudinit", INSTEAD("\"cloud-init\": {\"user-data\": \"user-data\"}")},
	{"qemu-args", INSTEAD("\"args\": [\"-device\", \"virtio-rng-pci\"]")},
	{"extra-args", INSTEAD("\"args\": [\"-device\", \"virtio-rng-pci\"]")},
	{"share", SHARE},
	{"virtfs", SHARE},
	{"virtiofs", SHARE},
	{"mounts", SHARE},
	{"volumes", SHARE},
	{"swtpm", INSTEAD("\"tpm\": true")},
	{"passt", HELPER},
	{"boot", BOOT},
	{"boot-order", BOOT},
	{"bootindex", BOOT},
	{"vga", VIDEO},
	{"video", VIDEO},
	{"gpu", VIDEO},
	{"graphics", VIDEO},
	{"vnc", INSTEAD("\"display\": \"vnc=127.0.0.1:0\"")},
	{"spice", INSTEAD("\"display\": \"spice-app\"")},
	{"usb", USB},
	{"hostdev", HOSTDEV},
	{"hostpci", HOSTDEV},
	{"passthrough", HOSTDEV},
	{"hugepages", HUGEPAGES},
	{"panic", PANIC},
	{"on-crash", PANIC},
	{"snapshot", SNAPSHOT},
	{"snapshots", SNAPSHOT},
	{"rng", RNG},
	{"sound", SOUND},
	{"audio", SOUND},
	{"timeout", STOP},
	{"shutdown", STOP},
	{"restart", "; the init system starts a VM again: Restart= of its unit"},
};

const char *otherkey_hint(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcasecmp(rows[i].key, key) == 0)
			return rows[i].hint;
	return "";
}
