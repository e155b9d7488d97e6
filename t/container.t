#!/usr/bin/perl
# In a container: as PID 1 itself, and under the usual small inits. TERM shuts the guest down, the status of the
# container is ours, and orphans are reaped. And examples/container: valid, and with grace enough for the ladder.
use strict;
use warnings;
use FindBin;
use IO::Socket::INET;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'unshare', 'tini', 'catatonit', 'apt-get', 'python3', 'curl');
need_that('unshare --pid works (root)', sub { (run_command('unshare', '--pid', '--fork', '--mount-proc', 'true'))[0] == 0 });

my @container = ('unshare', '--pid', '--fork', '--mount-proc', '--kill-child');
my %inits = (
	'PID 1' => [],
	'tini' => ['tini', '--'],
	'tini -g' => ['tini', '-g', '--'],	# TERM to the whole process group, QEMU's too
	'catatonit' => ['catatonit', '--'],
);

# The process that is PID 1 in the container: the one which its engine signals.
sub first_process {
	my ($vm) = @_;
	return (grep { slurp("/proc/$_/status") =~ /^NSpid:.*\t1$/m } children($vm->{pid}))[0];
}

sub zombies {
	my ($vm) = @_;
	my %ours = map { $_ => 1 } children($vm->{pid});
	return grep { slurp($_) =~ /\) Z (\d+) / && $ours{$1} } glob('/proc/[0-9]*/stat');
}

# The shell leaves an orphan behind, which ends when it is told to, and becomes QEMU.
sub stopped_by_term {
	my ($name) = @_;
	my ($fifo, $disk, $console) = (T::make_fifo("$work/fifo"), make_disk(), "$work/console");
	my $orphan = "(read -r _ <$fifo &) ; exec \"\$@\"";
	my $vm = supervise(prefix => [@container, @{ $inits{$name} }], options => ['--verbose'],
		command => ['sh', '-c', $orphan, 'sh', guest_command('normal', disk => $disk, console => $console)]);
	@$vm{qw(disk console)} = ($disk, $console);
	$vm->wait_console(qr/guest: listening/);
	my $first = first_process($vm);
	is(slurp("/proc/$first/comm"), ($inits{$name}[0] || 'qemu-supervise') . "\n", 'who is PID 1');
	spew($fifo, "now\n");
	if ($name eq 'PID 1') {
		$vm->wait_log(qr/reaped pid \d+\n/);
	} else {
		wait_until('the orphan being gone', sub { !grep { slurp("/proc/$_/cmdline") =~ /\Q$fifo\E/ && slurp("/proc/$_/comm") eq "sh\n" } children($vm->{pid}) });
	}
	wait_until('zombies being gone', sub { !zombies($vm) });
	kill('TERM', $first);
	$vm->ends_with(0, qr/the guest powered itself off \(status 0\); TERM: powerdown/, 'TERM');
	like($vm->log, @{ $inits{$name} } ? qr/TERM from pid 1 \($inits{$name}[0]\): powerdown/ : qr/TERM from outside of this pid namespace: powerdown/,
		'who sent it');
	ok(disk_is_clean($disk), 'file system clean');
	unlink($fifo, $console);
}

sub status_passed_on {
	my ($name) = @_;
	my $vm = running(prefix => [@container, @{ $inits{$name} }], fake => []);
	kill('QUIT', first_process($vm));
	$vm->ends_with(80, qr/QEMU was told to quit|not shut down/, 'QUIT');
}

for my $name (sort keys %inits) {
	subtest $name => sub {
		stopped_by_term($name);
		status_passed_on($name);
	};
}

# ---- the examples ----

my $examples = "$top/examples/container";
my $tools = "$top/build/container";
# Debian 12 has Compose's schema in the program, later ones in its library.
my $library = 'golang-github-compose-spec-compose-go-dev';
my ($no_library) = run_command('apt-cache', 'show', $library);
is(system("$top/t/unpack", $tools, $no_library ? 'docker-compose' : $library, qw(python3-kubernetes python3-six)), 0, 'schemas');

# What is in a YAML file, after it was checked; undef and its problems otherwise.
sub checked {
	my ($kind, $file) = @_;
	my ($status, $out, $err) = run_command('python3', "$top/t/check-yaml", $tools, $kind, $file);
	return $status == 0 ? JSON::PP::decode_json($out) : (undef, $err);
}

sub seconds {
	my ($m, $s) = $_[0] =~ /^(?:(\d+)m)?(?:(\d+)s)?$/ or return 0;
	return 60 * ($m || 0) + ($s || 0);
}

my $longest = T::longest_stop();
my ($pod, $problems) = checked('V1Pod', "$examples/pod.yaml");
ok($pod, 'pod.yaml is a pod') or diag($problems);
cmp_ok($pod->{spec}{terminationGracePeriodSeconds}, '>', $longest, 'and its grace is longer than the ladder');
(my $set, $problems) = checked('V1StatefulSet', "$examples/statefulset.yaml");
ok($set, 'statefulset.yaml is a StatefulSet') or diag($problems);
is($set->{apiVersion}, 'apps/v1', 'of that API');
my $template = $set->{spec}{template};
cmp_ok($template->{spec}{terminationGracePeriodSeconds}, '>', $longest, 'and its grace is longer than the ladder');
is_deeply($template->{metadata}{labels}, $set->{spec}{selector}{matchLabels}, 'its pods are its own');
is_deeply($template->{spec}{containers}, $pod->{spec}{containers}, 'and of the container of pod.yaml');
is($set->{spec}{volumeClaimTemplates}[0]{metadata}{name}, $template->{spec}{containers}[0]{volumeMounts}[0]{name}, 'with a volume each');
my @probe = @{ $pod->{spec}{containers}[0]{readinessProbe}{exec}{command} };
(my $compose, $problems) = checked('compose', "$examples/compose.yaml");
ok($compose, 'compose.yaml is one') or diag($problems);
cmp_ok(seconds($compose->{services}{vm}{stop_grace_period}), '>', $longest, 'and its grace is longer than the ladder');
for (['V1Pod', 'pod.yaml', 'terminationGracePeriodSeconds'], ['V1StatefulSet', 'statefulset.yaml', 'terminationGracePeriodSeconds'],
	['compose', 'compose.yaml', 'stop_grace_period']) {
	my ($kind, $file, $key) = @$_;
	my ($value, $why) = checked($kind, spew("$work/$file", slurp("$examples/$file") =~ s/\b$key: /\L$key-: /r));
	is($value, undef, "a wrong key in $file is found");
	like($why, qr/\b\L$key-/, 'and named');
}
my $containerfile = slurp("$examples/Containerfile");
like($containerfile, qr/^ENTRYPOINT \["vm"\]$/m, 'Containerfile: no shell is between the engine and us');
like(slurp("$examples/vm"), qr/^exec qemu-supervise vm\b[^\n]*\n\z/m, 'nor afterwards');
unlike($containerfile, qr/^STOPSIGNAL (?!SIGTERM)/m, 'and TERM is what stops it');
for my $path ($containerfile =~ /^COPY (?!--from)(\S+) /mg) {
	ok(-e "$top/$path", "it copies $path, which is there");
}

# ---- the container that Containerfile describes, by a real engine: /usr is this machine's, and what make install makes ----

my $runc = "$top/build/runc";
is(system("$top/t/unpack", $runc, qw(runc libseccomp2)), 0, 'runc');
my @runc = ('env', 'LD_LIBRARY_PATH=' . join(':', glob "$runc/usr/lib/*-linux-gnu"), (grep { -x } glob("$runc/usr/{s,}bin/runc"))[0], '--root', "$work/runc");
my $port = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
my $containers = 0;

sub bind_mount { return { destination => $_[1], type => 'bind', source => $_[0], options => ['rbind', $_[2] || 'rw'] } }

# A container of it: what its engine says goes to the log.
sub container {
	my (@words) = @_;
	my ($entry) = $containerfile =~ /^ENTRYPOINT \["(.*)"\]$/m;
	my ($env) = $containerfile =~ /^ENV (.*)$/m;
	my %dir = (type => 'tmpfs', source => 'tmpfs');
	my $id = "qs-$$-" . ++$containers;
	spew("$work/bundle/config.json", JSON::PP->new->encode({
		ociVersion => '1.0.0', root => { path => 'rootfs' },
		process => { args => [$entry, @words], cwd => '/', user => { uid => 0, gid => 0 },
			env => [split(' ', $env), 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin', "FORWARD=$port:22"] },
		mounts => [{ destination => '/proc', type => 'proc', source => 'proc' }, { destination => '/dev', %dir }, { destination => '/run', %dir },
			{ destination => '/tmp', %dir }, bind_mount('/usr', '/usr', 'ro'), bind_mount("$work/image/usr/local", '/usr/local', 'ro'),
			bind_mount('/etc', '/etc', 'ro'), bind_mount(guest_files(), '/guest', 'ro'), map { bind_mount("$work/$_", "/$_") } qw(vm srv)],
		linux => { namespaces => [map { { type => $_ } } qw(pid mount ipc uts)] },
	}));
	my $c = supervisor(vm => 'vm');
	@$c{qw(id command)} = ($id, [@runc, 'run', '--bundle', "$work/bundle", $id]);
	return T::launch($c);
}

sub in_container {
	my ($c, @words) = @_;
	return run_command(@runc, 'exec', $c->{id}, @words);
}

mkdir "$work/$_" for qw(bundle bundle/rootfs vm srv);
mkdir "$work/bundle/rootfs/$_" for qw(usr etc proc sys dev run tmp vm srv guest);
symlink("usr/$_", "$work/bundle/rootfs/$_") for qw(bin sbin lib lib64);
delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
is((run_command('make', '-C', $top, '-o', 'all', 'install', "DESTDIR=$work/image"))[0], 0, 'make install');
for (grep { $_->[0] } [$ENV{T_SUPERVISE}, 'bin/qemu-supervise'], [$ENV{T_VMCONF}, 'bin/vmconf'], ["$examples/vm", 'bin/vm']) {
	mkdir "$work/image/usr/local/bin";
	is((run_command('cp', $_->[0], "$work/image/usr/local/$_->[1]"))[0], 0, $_->[1]);
}
is((run_command('qemu-img', 'convert', '-O', 'qcow2', make_disk(), "$work/srv/base.qcow2"))[0], 0, 'an image');
my @words = ('--image', 'file:///srv/base.qcow2', '--memory', '128M', '--set', 'args=["-serial", "file:/srv/console"]',
	map { ('--set', $_) } 'ready=listening', 'accel=tcg', 'machine=q35', 'console=none', 'kernel=/guest/vmlinux', 'initrd=/guest/initrd', 'append=' . T::guest_append('normal'));
for my $start ('first', 'second') {
	unlink "$work/srv/console";
	my $c = container(@words);
	my ($probed) = in_container($c, @probe);
	isnt($probed, 0, "$start start: a guest that boots is not ready");
	wait_until(sub { "readiness\n" . $c->log }, sub { (in_container($c, @probe))[0] == 0 });
	wait_until(sub { "the guest\n" . $c->log . slurp("$c->{log}.out") }, sub { slurp("$work/srv/console") =~ /guest: listening/ });
	ok(IO::Socket::INET->new("127.0.0.1:$port"), "$start start: a port is the guest's");
	my ($listed, $list) = in_container($c, 'vmconf', 'list');
	like($list, qr/^vm +running /m, "$start start: vmconf works in there");
	is((run_command(@runc, 'kill', $c->{id}, 'TERM'))[0], 0, 'the engine stops it');
	is($c->end, 0, "$start start: the guest powered itself off");
	like($c->log, qr/TERM from outside of this pid namespace: powerdown/, 'because of that TERM');
	unlink "$work/srv/base.qcow2"; # which is not fetched again
}
my $state = "$work/vm/state";
is((run_command('qemu-img', 'convert', '-O', 'raw', '--image-opts', "driver=qcow2,file.filename=$state/vm/root.qcow2,"
	. "backing.driver=qcow2,backing.file.filename=$state/images/base.qcow2", "$work/disk"))[0], 0, 'its disk is in the volume');
ok(disk_is_clean("$work/disk"), 'and clean');

done_testing;
