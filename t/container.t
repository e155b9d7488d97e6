#!/usr/bin/perl
# In a container: as PID 1 itself, and under the usual small inits. TERM shuts the guest down, the status of the
# container is ours, and orphans are reaped. And examples/container: valid, and with grace enough for the ladder.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'unshare', 'tini', 'catatonit', 'apt-get', 'python3');
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

# The longest that TERM's ladder takes, in s, with what a guest that boots and a flush of the disks may add.
sub longest_stop {
	my ($definition) = @_;
	T::define('vm', JSON::PP::decode_json(slurp($definition)));
	my ($status, $out, $err) = run_command($ENV{T_SUPERVISE} || "$top/qemu-supervise", '--print', 'vm');
	is($status, 0, 'the definition is good') or diag($err);
	my ($ladder) = $out =~ /^TERM\s+(.*)$/m;
	my $sum = 120 + 30; # boot-timeout, a flush
	$sum += $1 for $ladder =~ /(\d+)s\b/g;
	return $sum;
}

sub seconds {
	my ($m, $s) = $_[0] =~ /^(?:(\d+)m)?(?:(\d+)s)?$/ or return 0;
	return 60 * ($m || 0) + ($s || 0);
}

my $longest = longest_stop("$examples/vm.json");
my ($pod, $problems) = checked('V1Pod', "$examples/pod.yaml");
ok($pod, 'pod.yaml is a pod') or diag($problems);
cmp_ok($pod->{spec}{terminationGracePeriodSeconds}, '>', $longest, 'and its grace is longer than the ladder');
(my $compose, $problems) = checked('compose', "$examples/compose.yaml");
ok($compose, 'compose.yaml is one') or diag($problems);
cmp_ok(seconds($compose->{services}{vm}{stop_grace_period}), '>', $longest, 'and its grace is longer than the ladder');
for (['V1Pod', 'pod.yaml', 'terminationGracePeriodSeconds'], ['compose', 'compose.yaml', 'stop_grace_period']) {
	my ($kind, $file, $key) = @$_;
	my ($value, $why) = checked($kind, spew("$work/$file", slurp("$examples/$file") =~ s/\b$key: /\L$key-: /r));
	is($value, undef, "a wrong key in $file is found");
	like($why, qr/\b\L$key-/, 'and named');
}
my $containerfile = slurp("$examples/Containerfile");
like($containerfile, qr/^ENTRYPOINT \["qemu-supervise"/m, 'Containerfile: no shell is between the engine and us');
unlike($containerfile, qr/^STOPSIGNAL (?!SIGTERM)/m, 'and TERM is what stops it');
for my $path ($containerfile =~ /^COPY (?!--from)(\S+) /mg) {
	ok(-e "$top/$path", "it copies $path, which is there");
}

done_testing;
