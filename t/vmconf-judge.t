#!/usr/bin/perl
# What QEMU would refuse at the next start is told before: vmconf check, and vmconf set of a VM that runs.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'qemu-img');

vmconf_does('create', 'web', quick('--disk', '10M', '--nic', 'user', '--set', 'machine=q35'));
my $good = slurp("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/web.json");

# A zombie waits for its parent alone.
sub group_is_gone {
	my ($group) = @_;
	return !grep { slurp($_) =~ /\) [^Z] \d+ $group / } glob('/proc/[0-9]*/stat');
}

sub as_it_was { spew("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/web.json", $good) }

# Each row: what is set, and the lines of check; none: QEMU takes it.
for (
	['disks.0.size=10G', qr/disks\[0\]\.size: QEMU has no such key here/],
	['disks.0.fiel={}', qr/disks\[0\]\.fiel: QEMU has no such key here; did you mean "file"\?/],
	['disks.0.file={"driver": "file", "lokcing": "on"}', qr/disks\[0\]\.file\.lokcing: QEMU has no such key here; did you mean "locking"\?/],
	['disks.0.file={"driver": "file", "locking": "on"}'],
	['disks.0.discard=unmop', qr/disks\[0\]\.discard: QEMU has no "unmop" here; did you mean "unmap"\?/],
	['disks.0.cache.direct="yes"', qr/disks\[0\]\.cache\.direct: QEMU expects true or false/],
	['disks.0.backing=null'],
	['disks.0.backing=5', qr/disks\[0\]\.backing: QEMU does not take a value of this type/],
	['disks.0.device=virtio-blk'], # an alias
	['disks.0.device=virtio-blkk', qr/disks\[0\]\.device: Device 'virtio-blkk' not found/],
	['disks.0.properties={"serial": "1", "bus": "pcie.0"}'],
	['disks.0.properties={"seriel": "1"}', qr/disks\[0\]\.properties\.seriel: virtio-blk-pci has no such property; did you mean "serial"\?/],
	['nics.0.br=br0', qr/nics\[0\]\.br: QEMU has no such key here/],
	['nics.0.dnssearch=[{"str": "example.org"}]'],
	['nics.0={"type": "tap", "script": "no", "downscript": "no", "vhots": true}', qr/nics\[0\]\.vhots: .* did you mean "vhost(?:s)?"\?/],
	['nics.0={"type": "socket", "mcast": "230.0.0.1:1234"}'],
	['nics.0.properties={"mrq": true}', qr/nics\[0\]\.properties\.mrq: virtio-net-pci has no such property/],
	['machine=q36', qr/machine: qemu-system-x86_64 has no machine q36; did you mean "q35"\?/],
	['machine=q35,smm=off'],
	['cdrom=/dev/null'],
	['display=vnc=none'],
	['args=["-device", "{\"driver\": \"virtio-rngg\"}"]', qr/-device\.driver: Device 'virtio-rngg' not found/],
	['args=["-device", "no-such,x=y"]'], # words are left to QEMU
) {
	my ($set, $says) = @$_;
	vmconf_does('set', 'web', $set);
	if ($says) {
		vmconf_fails(78, qr/\/web\.json: $says/, 'check', 'web');
	} else {
		is(vmconf_does('check', 'web'), '', "$set: nothing to say");
	}
	as_it_was();
}

# ---- nothing is touched: the emulator that is asked is given no disk, and is gone afterwards ----
my $qemu = "$work/qemu-noted";
spew($qemu, <<"SH");
#!/bin/sh
for word; do echo "\$word"; done >>"$work/words"
case " \$* " in *" -help "*) ;; *) echo \$\$ >>"$work/pids" ;; esac
exec qemu-system-x86_64 "\$@"
SH
chmod 0755, $qemu;
vmconf_does('create', "more$_", quick('--disk', '1M', '--set', "emulator=$qemu", '--set', 'accel=["tcg"]')) for 1 .. 3;
is(vmconf_does('check'), '', 'four VMs');
my @pids = split /\n/, slurp("$work/pids");
is(scalar @pids, 1, 'those of one emulator ask it once');
ok(group_is_gone($pids[0]), 'which is gone');
unlike(slurp("$work/words"), qr/more1|qcow2|netdev|blockdev/, 'and has not seen a disk or a network');

# A path that is no absolute one begins in the VM's own directory.
for my $name (qw(own1 own2)) {
	my $home = "$ENV{QEMU_SUPERVISE_STATE_DIR}/$name";
	T::define($name, { emulator => './qemu', machine => 'q35', accel => 'tcg', nics => [] });
	mkdir($home);
	spew("$home/qemu", "#!/bin/sh\ncase \" \$* \" in *-qmp*) echo $name >>'$work/own' ;; esac\nexec qemu-system-x86_64 \"\$@\"\n");
	chmod(0755, "$home/qemu");
}
is(vmconf_does('check', 'own1', 'own2'), '', 'two VMs with relative paths');
is(slurp("$work/own"), "own1\nown2\n", 'which are two emulators');
unlink(map { "$ENV{QEMU_SUPERVISE_CONFIG_DIR}/own$_.json" } 1, 2);

# ---- an emulator that cannot be asked ----
# Each row: the script, and why.
$ENV{QEMU_SUPERVISE_PATIENCE} = '2s';
for (
	['exec sleep 1000', qr/no greeting in time: QEMU hangs, or is stopped/],
	['sleep 1000; true', qr/no greeting in time: QEMU hangs, or is stopped/],
	['exit 3', qr/closed by QEMU/],
	['echo "no QMP at all"', qr/closed by QEMU/],
	[q(echo '{"QMP": {"version": {}, "capabilities": []}}'; read line; echo '{"return": {}, "id": 1}'; exec sleep 1000), qr/no answer in time/],
) {
	my ($script, $why) = @$_;
	spew("$work/hung", "#!/bin/sh\necho \$\$ >$work/pid\n$script\n");
	chmod 0755, "$work/hung";
	vmconf_does('set', 'web', "emulator=$work/hung");
	my ($status, undef, $errors) = vmconf('check', 'web');
	is($status, 0, "$script: not known is not wrong");
	like($errors, qr/^(?:vmconf: QMP: a line that is not a JSON object; .*\n)?vmconf: \S+web\.json: \S+hung was not asked what it takes: $why\n\z/, 'and that is said');
	chomp(my $pid = slurp("$work/pid"));
	wait_until('its processes are gone', sub { group_is_gone($pid) });
	as_it_was();
}
delete $ENV{QEMU_SUPERVISE_PATIENCE};

# ---- set of a VM that runs ----
vmconf_does('start', 'web');
my ($status, undef, $errors) = vmconf('set', 'web', 'disks.0.size=10G');
is($status, 0, 'set does it');
like($errors, qr/web is running: the change takes effect at its next start\n\S+ \S+web\.json: disks\[0\]\.size: QEMU has no such key here.*\n\S+ web: its next start would fail\n\z/,
	'and warns');
($status, undef, $errors) = vmconf('set', 'web', 'disks.0.size=');
is("$status $errors", "0 vmconf: web is running: the change takes effect at its next start\n", 'what is good is not warned of');
spew("$work/editor", "#!/bin/sh\nsed -i 's/\"format\"/\"fromat\": 1, \"format\"/' \"\$1\"\n");
chmod 0755, "$work/editor";
{
	local $ENV{VISUAL} = "$work/editor";
	(undef, undef, $errors) = vmconf('edit', 'web');
	like($errors, qr/disks\[0\]\.fromat: .*\n.*its next start would fail/, 'nor does edit keep it to itself');
}
vmconf_does('stop', 'web', '--kill');

done_testing;
