#!/usr/bin/perl
# vmconf create: all or nothing, whatever goes wrong.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-img');

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};

# All files of both directories but the lock, so that "nothing" can be told.
sub files {
	my @found = `find $config $state -not -name .lock -not -type d 2>/dev/null`;
	chomp @found;
	return join ' ', sort @found;
}

sub info {
	my ($path) = @_;
	my ($status, $out) = run_command('qemu-img', 'info', '--output=json', $path);
	return $status == 0 ? JSON::PP::decode_json($out) : {};
}

# Of itself.
vmconf_does('create', 'empty', '--disk', '20G', '--memory', '2G', '--cpus', 3);
is(info("$state/empty/root.qcow2")->{'virtual-size'}, 20 << 30, 'a disk of that size');
cmp_ok(-s "$state/empty/root.qcow2", '<', 1 << 20, 'space is not allocated beforehand');
is((stat "$state/empty/root.qcow2")[2] & 0777, 0600, 'the disk is nobody else\'s');
my $empty = definition('empty');
is($empty->{memory}, '2G', 'memory');
is($empty->{cpus}, 3, 'cpus');
is_deeply($empty->{disks}, [{ path => 'root.qcow2', format => 'qcow2' }], 'the disk is in the definition');
like($empty->{nics}[0]{mac}, qr/^52:54:00(:[0-9a-f]{2}){3}$/, 'a MAC');
like($empty->{uuid}, qr/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, 'a UUID');
is(vmconf_does('check'), '', 'check says nothing');
my $key = spew("$work/key.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKFX9iF8r6devZDRBQbu+h1PplgrJynXsng58Ex8DuUC ann\n");
# QEMU as it is on a host that has the bridge, and the tap.
my $bridged = spew("$work/bridged",
	"#!/bin/sh\nexec perl -e 's/\"(?:bridge|tap)\"/\"user\"/, s/, *\"(?:br|ifname)\": *\"(?:br|tap)0\"// for \@ARGV; "
	. "exec \@ARGV' qemu-system-x86_64 \"\$@\"\n");
chmod(0755, $bridged);
for my $row (
	[['--disk', '1M'], 'is created, with nothing to boot; next: vmconf set next cdrom=FILE.iso, then vmconf start next'],
	[['--disk', '1M', '--set', 'cdrom=a.iso'], 'is created; next: vmconf start next'],
	[[quick('--start')], 'is created and started; next: vmconf console next'],
	[[quick('--start', '--set', 'console=none')], 'is created and started; next: vmconf status next'],
	[[quick('--start', '--nic', 'user', '--hostname', 'x', '--ssh-key', 'none')], 'is created and started; next: vmconf console next'],
	[[quick('--start', '--nic', 'user', '--hostname', 'x', '--ssh-key', $key)], 'is created and started; next: vmconf ssh next'],
	[[quick('--start', '--nic', 'bridge,br=br0', '--set', "emulator=$bridged", '--hostname', 'x', '--ssh-key', $key)],
		'is created and started; next: vmconf ssh next'],
	[[quick('--start', '--nic', 'tap,ifname=tap0', '--set', "emulator=$bridged", '--hostname', 'x', '--ssh-key', $key)],
		'is created and started; next: vmconf ssh next']
) {
	my ($options, $line) = @$row;
	is_deeply([(vmconf('create', 'next', @$options))[0, 2]], [0, "vmconf: next $line\n"], "create @$options: what comes next");
	vmconf_does('delete', 'next', '--kill');
	is_deeply([(vmconf('create', 'next', @$options, '-q'))[0, 2]], [0, ''], 'not with -q');
	vmconf_does('delete', 'next', '--kill');
}
my $name = vmconf_does('create', quick()) =~ s/\n//r;
like($name, qr/^[a-z]{8}$/, 'without a name it makes one, and prints it');
ok(definition($name), 'and there is that VM');

# Overlays.
mkdir "$state/images";
run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$state/images/base.qcow2", '3G');
run_command('qemu-img', 'create', '-q', '-f', 'raw', "$work/base.raw", '2G');
system('cp', "$state/images/base.qcow2", "$work/cloud.img");
system('cp', "$state/images/base.qcow2", "$work/nameless");
vmconf_does('create', 'overlay', '--image', 'base');
my $overlay = info("$state/overlay/root.qcow2");
is($overlay->{'full-backing-filename'}, "$state/images/base.qcow2", 'overlay on an image by its name');
is($overlay->{'backing-filename-format'}, 'qcow2', 'with its format');
vmconf_does('create', 'larger', '--image', "$work/base.raw", '--disk', '5G');
is(info("$state/larger/root.qcow2")->{'backing-filename-format'}, 'raw', 'by its path; raw');
is(info("$state/larger/root.qcow2")->{'virtual-size'}, 5 << 30, 'larger than the image');
SKIP: {	# cloud images are often qcow2 in a file called .img
	skip('not root', 1) if $> != 0;
	my $cloud = "$state/images/cloud.img";
	chmod 0755, "$state/images";
	system('cp', "$work/cloud.img", $cloud);
	chmod 0644, $cloud;
	vmconf_does('create', 'cloud', '--image', 'cloud');
	is(info("$state/cloud/root.qcow2")->{'backing-filename-format'}, 'qcow2', 'what root put into images/ is taken for what it is');
	my $refused = qr/cloud\.img is qcow2, not raw as its name says; .*--image-format/;
	chmod 0664, $cloud;
	vmconf_fails(1, $refused, 'create', 'no', '--image', 'cloud');
	chmod 0644, $cloud;
	chmod 0777, "$state/images";
	vmconf_fails(1, $refused, 'create', 'no', '--image', 'cloud');
	chmod 0755, "$state/images";
	chown 65534, -1, $cloud;
	vmconf_fails(1, $refused, 'create', 'no', '--image', 'cloud');
	chown 0, -1, $cloud;
	system('cp', $cloud, "$state/images/cloud.raw");
	vmconf_fails(1, qr/cloud\.raw is qcow2, not raw as its name says/, 'create', 'no', '--image', 'cloud.raw');
	unlink "$state/images/cloud.raw";
	vmconf_does('create', 'writer', '--set', "disks=[{\"path\": \"$cloud\", \"format\": \"raw\"}]", '--nic', 'none');
	vmconf_fails(1, $refused, 'create', 'no', '--image', 'cloud');
	vmconf_does('delete', 'writer', '--keep-disks');
	run_command('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', "$state/images/base.qcow2", '-F', 'qcow2', $cloud);
	vmconf_fails(1, qr/cloud\.img refers to another file/, 'create', 'no', '--image', 'cloud');
}
vmconf_does('create', 'told', '--image', "$work/nameless", '--image-format', 'qcow2');

# nics and keys.
vmconf_does('create', 'nics', '--nic', 'bridge,br=br0', '--nic', '{"type": "user", "mac": "52:54:00:00:00:01"}', '--set',
	'description=a, "b" = c', '--set', 'on.TERM=quit 10s, kill', '--set', 'order=7');
my $nics = definition('nics');
is($nics->{nics}[0]{br}, 'br0', '--nic TYPE,KEY=VALUE');
is($nics->{nics}[1]{mac}, '52:54:00:00:00:01', '--nic JSON keeps its MAC');
is($nics->{description}, 'a, "b" = c', '--set takes a string with anything in it');
is($nics->{order}, 7, '--set takes JSON');
is($nics->{on}{TERM}, 'quit 10s, kill', '--set takes a path');

# --set applies to what the other options make, wherever it stands among them.
vmconf_does('create', 'second', '--set', 'disks.0.discard=unmap', '--set', 'disks.1={"path": "data.raw", "format": "raw"}', '--disk', '10M',
	'--set', 'nics.0.hostfwd=tcp:127.0.0.1:0-:22', '--set', 'nics.0.hostfwd=tcp:127.0.0.1:0-:80', '--set', 'memory=256M', '--memory', '2g');
my $second = definition('second');
is_deeply($second->{disks}, [{ path => 'root.qcow2', format => 'qcow2', discard => 'unmap' }, { path => 'data.raw', format => 'raw' }],
	'disks.0 is the disk that is made, disks.1 one more');
is($second->{nics}[0]{type}, 'user', 'nics.0 is the nic that is made');
is_deeply($second->{nics}[0]{hostfwd}, ['tcp:127.0.0.1:0-:22', 'tcp:127.0.0.1:0-:80'], 'twice the key: both');
is(@{ $second->{nics} }, 1, 'and the only one');
is($second->{memory}, '256M', '--set counts more than an option after it');
my $mac = $second->{nics}[0]{mac};
spew("$config/broken.json", '{');
spew("$config/bare.json", '{"kernel": "/k", "disks": [], "nics": []}');
my $long = vmconf_does('list', 'second', 'bare', 'broken', '--long');
like($long, qr/\ANAME .* BOOT  DISKS  MACS\nsecond .*  10M,\?  \Q$mac\E\nbare .*  -      -\nbroken .*  \?      \?                  broken definition/,
	'list --long: sizes of disks, as far as they are known, and MACs') or diag($long);
unlink("$config/$_.json") for qw(bare broken);
vmconf_does('create', 'named', '--disk', '1.5M', '--set', 'disks.0.path=disks/system.raw', '--set', 'disks.0.format=raw');
is(-s "$state/named/disks/system.raw", 3 << 19, 'the disk is made where --set says, and as what');
ok(!-e "$state/named/root.qcow2", 'and nowhere else');
vmconf_does('delete', 'named');
ok(!-e "$state/named", 'delete knows it');
vmconf_does('create', 'lower', '--disk', '2m');
is(info("$state/lower/root.qcow2")->{'virtual-size'}, 2 << 20, 'a unit may be a small letter');
vmconf_does('create', 'other', '--set', 'nics=[{"type": "bridge", "br": "br0"}]');
is_deeply([map { $_->{type} } @{ definition('other')->{nics} }], ['bridge'], '--set nics= replaces them all');

# What is refused leaves nothing.
my $before = files();
vmconf_fails(1, qr/^vmconf: a VM empty already exists$/m, 'create', 'empty', '--disk', '1G');
for my $size (qw(20GB 20GiB G -1G 0 1.5 abc 1e9 99999999999999999G 0G 20 8192P), '') {
	vmconf_fails(64, qr/^vmconf: --disk \Q$size\E: not a size: .*20G/m, 'create', 'bad', '--disk', $size);
}
vmconf_fails(64, qr/--disk 20: .*; 20 has no unit: is 20G meant\?$/m, 'create', 'bad', '--disk', 20);
vmconf_fails(64, qr/--disk 20GiB: .*; is 20G meant\?$/m, 'create', 'bad', '--disk', '20GiB');
for my $memory (2, '0.5', 63) {
	vmconf_fails(64, qr/^vmconf: --memory \Q$memory: memory: found $memory, \E.*; \Q$memory\E has no unit: is \Q$memory\EG meant\?$/m,
		'create', 'bad', '--memory', $memory);
}
vmconf_fails(64, qr/^vmconf: --memory $_: memory: found "$_", /m, 'create', 'bad', '--memory', $_) for 'plenty', '1.3G', '2GB', '';
vmconf_fails(64, qr/^vmconf: --cpus 0: cpus: found 0, /m, 'create', 'bad', '--cpus', 0);
vmconf_fails(64, qr/^vmconf: --nic br0: nics\[0\]\.type: found "br0", .*; write bridge,br=br0 for it/m, 'create', 'bad', '--nic', 'br0');
vmconf_fails(64, qr/^vmconf: --nic user,x: x: not of the form KEY=VALUE$/m, 'create', 'bad', '--nic', 'user,x');
vmconf_fails(64, qr/^vmconf: --nic \{.*: not valid JSON: duplicate object key/m, 'create', 'bad', '--nic', '{"type": "user", "net": "a", "net": "b"}');
vmconf_fails(64, qr/^vmconf: --$_: not UTF-8$/m, 'create', 'bad', "--$_", "\xff") for 'memory', 'nic';
vmconf_fails(64, qr/^vmconf: --set: .*mem/m, 'create', 'bad', '--set', 'memori=2G');
vmconf_fails(64, qr/not of the form KEY=VALUE/, 'create', 'bad', '--set', 'cpus');
vmconf_fails(64, qr/^vmconf: --set: disks\.0 is the disk that --disk makes, .*disks\.1=\{\.\.\.\} adds one$/m, 'create', 'bad', '--disk', '10M', '--set', $_)
	for 'disks.0={"path": "a", "format": "raw"}', 'disks=[]', 'disks=';
vmconf_fails(64, qr/^vmconf: --set: disks\.0\.path: found "\Q$_\E", expected a path in the VM's state directory: --disk/m, 'create', 'bad', '--disk', '10M',
	'--set', "disks.0.path=$_") for '/dev/null', '../x', 'a/../../x';
vmconf_fails(64, qr/^vmconf: --set: disks\.0\.format: found "$_->[0]", expected "qcow2"/m, 'create', 'bad', @$_[1 .. 2], '--set', "disks.0.format=$_->[0]")
	for ['vmdk', '--disk', '10M'], ['raw', '--image', 'base'];
vmconf_fails(64, qr/^vmconf: --set disks\.2=\{\}: found "2" in a list of 1, expected a number from 0 to 1, which adds one$/m,
	'create', 'bad', '--disk', '10M', '--set', 'disks.2={}');
vmconf_fails(64, qr/there is no option --dsik; did you mean "disk"\?/, 'create', 'bad', '--dsik', '1G');
vmconf_fails(64, qr/needs a value/, 'create', 'bad', '--disk');
vmconf_fails(1, qr/a disk of 1\.5G is smaller than the base image \S+base\.$_->[0], which has $_->[1] bytes/, 'create', 'bad', '--image', $_->[2], '--disk', '1.5G')
	for ['qcow2', 3 << 30, 'base'], ['raw', 2 << 30, "$work/base.raw"];
vmconf_fails(1, qr/there is no base image nosuch: not in \S+\/images/, 'create', 'bad', '--image', 'nosuch');
vmconf_fails(1, qr/cannot find the base image \S+: No such file/, 'create', 'bad', '--image', "$work/no/such.qcow2");
vmconf_fails(1, qr/neither a file nor a block device/, 'create', 'bad', '--image', "$state/images/");
vmconf_fails(1, qr/cloud\.img is qcow2, not raw as its name says; .*--image-format/, 'create', 'bad', '--image', "$work/cloud.img");
vmconf_fails(1, qr/base\.raw is not qcow2, as you say/, 'create', 'bad', '--image', "$work/base.raw", '--image-format', 'qcow2');
vmconf_fails(1, qr/nameless: its name does not tell its format; say it with --image-format/, 'create', 'bad', '--image', "$work/nameless");
spew("$work/cut.qcow2", "QFI\xfb\0\0\0\3" . "\0" x 8);
vmconf_fails(1, qr/qemu-img: .*\n.*qemu-img failed with status 1\n.*bad was not created/s, 'create', 'bad', '--image', "$work/cut.qcow2");
mkdir "$state/left";
spew("$state/left/root.qcow2", 'mine');
vmconf_fails(1, qr/left\/root\.qcow2 already exists, but there is no VM left/, 'create', 'left', '--disk', '1G');
is(slurp("$state/left/root.qcow2"), 'mine', 'a file that is there is not touched');
unlink "$state/left/root.qcow2";
spew("$state/left/kernel", 'mine');
{
	local $ENV{PATH} = "$work/none";
	vmconf_fails(1, qr/qemu-img is not installed .*\n.*bad was not created/, 'create', 'bad', '--disk', '1G');
	vmconf_fails(1, qr/qemu-img is not installed/, 'create', 'left', '--disk', '1G');
	mkdir "$work/killed";
	spew("$work/killed/qemu-img", "#!/bin/sh\n: >\"\$5\"\nkill -KILL \$\$\n");
	chmod 0755, "$work/killed/qemu-img";
	local $ENV{PATH} = "$work/killed";
	vmconf_fails(1, qr/qemu-img was killed by signal 9/, 'create', 'bad', '--disk', '1G');
}
is(slurp("$state/left/kernel"), 'mine', 'a directory that is there keeps what is in it');
unlink "$state/left/kernel";
ok(rmdir "$state/left", 'and nothing else is in it');
is(files(), $before, 'nothing is left of any of them');
ok(!-e "$state/bad", 'no directory either');

# A kernel beside the definition, there before.
mkdir "$state/direct";
spew("$state/direct/vmlinuz", '');
vmconf_does('create', 'direct', quick('--set', 'kernel=vmlinuz'));
is(vmconf_does('check', 'direct'), '', 'a relative kernel is found');
unlink "$state/direct/vmlinuz";
vmconf_fails(78, qr/direct\.json: kernel: \S+\/direct\/vmlinuz does not exist/, 'check', 'direct');
vmconf_does('create', 'elsewhere', '--nic', 'bridge,br=br-elsewhere', '--set', 'emulator=qemu-elsewhere', '--set', 'firmware=/nofw',
	($> == 0 ? ('--set', 'run-as=elsewhere') : ()));
vmconf_fails(78, $_, 'check', 'elsewhere') for qr/nics\[0\]: there is no bridge br-elsewhere$/m, qr/emulator: qemu-elsewhere does not exist$/m,
	qr/firmware: \/nofw does not exist$/m, ($> == 0 ? qr/run-as: there is no user elsewhere$/m : ());
vmconf_does('delete', 'elsewhere');

# A socket's path has an end.
{
	local $ENV{QEMU_SUPERVISE_RUNTIME_DIR} = '/run/' . 'x' x (107 - length '/run//empty/control');
	is(vmconf_does('check', 'empty'), '', 'a runtime directory that sockets just fit into');
	$ENV{QEMU_SUPERVISE_RUNTIME_DIR} .= 'x';
	vmconf_fails(78, qr{empty\.json: the path of its runtime directory, /run/x+/empty, is too long for sockets in it; choose a shorter one}, 'check', 'empty');
}

# Eight at once.
my @pids = map {
	my $n = $_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDERR, '>', "$work/eight.$n");
		exec($ENV{T_VMCONF} || "$top/vmconf", 'create', 'eight', '--disk', "${n}G") or POSIX::_exit(127);
	}
	$pid;
} 1 .. 8;
my @statuses = map { waitpid($_, 0); $? >> 8 } @pids;
is((grep { $_ == 0 } @statuses), 1, 'eight at once: one wins');
is((grep { $_ == 1 } @statuses), 7, 'seven do not');
my ($winner) = grep { $statuses[$_ - 1] == 0 } 1 .. 8;
is(info("$state/eight/root.qcow2")->{'virtual-size'}, $winner << 30, 'the disk is the winner\'s');
is((grep { slurp("$work/eight.$_") =~ /a VM eight already exists/ } 1 .. 8), 7, 'seven say why');

# Many VMs, no MAC twice.
vmconf('create', quick('--nic', 'user')) for 1 .. 30;
my %macs;
$macs{$_}++ for map { /"mac": "([^"]+)"/g } map { slurp($_) } glob "$config/*.json";
ok(!(grep { $_ > 1 } values %macs), 'no MAC twice');

done_testing;
