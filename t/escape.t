#!/usr/bin/perl
# What somebody gets at who has taken over QEMU: t/escape.c is executed in its place and tries it, confined and not, as root
# and as another user.
use strict;
use warnings;
use FindBin;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket;
use JSON::PP ();
use lib $FindBin::Bin;
use T;

need('cc', 'setpriv');
my $attacker = "$work/qemu-attacker";
is(system('cc', '-D_GNU_SOURCE', '-Wall', '-o', $attacker, "$top/t/escape.c"), 0, 'the attacker');
my $root = $> == 0;

# What is tried, and where it may succeed: confined as root (R) and as a user (U), not confined as root (r) and as a user (u). Any
# other is refused.
my @as_user = $root ? ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups') : ();
my %may = (
	'shadow' => 'r',	# somebody else's files
	'read-disk' => 'r',
	'write-disk' => 'r',
	'cut-disk' => 'r',
	'definition' => 'r',
	'history' => 'r',
	'own' => 'ru',	# a new file where it runs, which is in its state directory only for a definition
	'anywhere' => 'ru',	# new files, and removing some
	'remove' => 'ru',
	'list-etc' => 'ru',
	'list-root' => 'r',
	'fill-disk' => 'ru',	# where it runs: a definition has it run in a directory of its own
	'descriptors' => '',	# that lead to more than QEMU needs
	'mem' => undef,		# the kernel may refuse it itself
	'block' => 'r',		# a disk of the host
	'make-device' => 'r',
	'kmsg' => 'r',
	'tun' => undef,		# its mode is the host's
	'tap' => 'r',		# one of its own
	'sysctl' => undef,	# the host may have it read-only
	'link' => 'ru',
	'signal' => 'r',	# other processes: those of root
	'signal-supervisor' => 'ru',
	'ptrace' => undef,	# yama may refuse it itself
	'proc-mem' => 'r',
	'vm-readv' => 'r',
	'mount' => 'r',
	'tty' => undef,		# whoever runs this may have one: see t/escape-user.t
	'namespace' => run_command(@as_user, 'unshare', '-U', 'true') ? 'r' : 'ru',	# and mounting there; as the host has it
	'bpf' => (slurp('/proc/sys/kernel/unprivileged_bpf_disabled') || 0) > 0 ? 'rR' : 'rRuU',	# nothing to do with files: no rule
	'fill-pids' => 'rRuU',	# the same; a definition forbids it
	'fill-threads' => 'rRuU',	# the same; QEMU needs some
	'qmp' => 'rR',		# a socket with a path: Landlock has no rule for connect(2)
	'control' => 'rR',
	'abstract' => 'ru',
	'tcp-listen' => 'ru',
	'tcp-connect' => 'ru',
	'setuid' => 'ru',
	'loader' => 'rRuU',	# a program that it may read, confined the same
	'shell' => 'ru',
);

# Who is not root makes the targets, too, and so attacks what is his own; yama may refuse some of that.
if (!$root) {
	$may{$_} .= 'u' for 'read-disk', 'write-disk', 'cut-disk', 'definition', 'history', 'signal';
	$may{$_} .= 'uU' for 'qmp', 'control';
	$may{$_} = undef for 'proc-mem', 'vm-readv';
}

# The first version of Landlock that refuses it, if that is not 1.
my %since = ('cut-disk' => 3, 'tcp-listen' => 4, 'tcp-connect' => 4, abstract => 6, signal => 6, 'signal-supervisor' => 6);

# ---- the targets: another VM, and things of the host ----

chmod(0711, $work);
my $other = running(fake => []);
my $disk = spew("$work/other.raw", 'x' x 4096);
chmod(0600, $disk);
my ($state, $anywhere) = ("$work/other-state", "$work/anywhere");
mkdir($state, 0700);
mkdir($anywhere);
chmod(01777, $anywhere);
my $definition = spew("$work/other.json", '{}');
chmod(0600, $definition);
my $tcp = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1') or die $!;
my $abstract;
socket($abstract, AF_UNIX, SOCK_STREAM, 0) && bind($abstract, pack_sockaddr_un("\0qs-escape-$$")) && listen($abstract, 100) or die $!;

my $removed = "$anywhere/removed";
my ($block, $mem) = ("$work/block", "$work/mem");
system('sh', '-c', "mknod $block b 7 0; mknod $mem c 1 1; chmod 0600 $block $mem") == 0 or die 'mknod' if $root;
$may{block} = undef if !open(my $opened, '<', $block);	# a file system without devices

sub targets {
	my ($loader) = (run_command('ldd', $attacker))[1] =~ m{^\s*(/\S*ld-\S+)}m or die 'ldd';
	return (LOADER => $loader, BLOCK => $block, MEM => $mem, OTHER_CONTROL => $other->dir . '/control', OTHER_DISK => $disk, OTHER_STATE => $state, DEFINITION => $definition, ANYWHERE => $anywhere, REMOVED => $removed,
		OTHER_PID => $other->qemu, OTHER_QMP => $other->dir . '/qmp', ABSTRACT => "qs-escape-$$", PORT => $tcp->sockport);
}

# What came of each attempt of the attacker, started by a supervisor.
sub tried {
	my ($user, $prefix, @options) = @_;
	my $dir = "$work/run-" . ($user ? 'user' : 'root');
	mkdir($dir, 0700);
	chown(65534, 65534, $dir) if $user && $root;
	spew($removed, '');
	unlink(map { "$anywhere/$_" } qw(made link device fill own));
	chown(65534, 65534, $removed) if $user && $root;
	my $s = supervise(command => [$attacker], name => 'attacker', options => [@options],
		env => { targets(), QEMU_SUPERVISE_RUNTIME_DIR => $dir, QEMU_SUPERVISE_CONFIG_DIR => "$dir/none", QEMU_SUPERVISE_STATE_DIR => "$dir/none" },
		setup => sub { chdir($anywhere) or die $! },
		prefix => [@$prefix, $user ? @as_user : ()]);
	is($s->end, 69, 'it ends') or diag($s->log);
	my %tried = $s->log =~ /^tried: ([\w-]+): (.*)$/mg;
	return wantarray ? (\%tried, $s->log) : \%tried;
}

# version: of Landlock, none where nothing is confined.
sub row_is_right {
	my ($tried, $what, $who, $version) = @_;
	my $confined = $version >= ($since{$what} || 1);
	my $letter = $confined ? uc $who : $who;
	return if $what eq 'tty';
	my $may = defined $may{$what} ? $may{$what} =~ /$letter/ : $confined ? 0 : return;
	my $said = $tried->{$what} // 'nothing';
	$may ? is($said, 'done', "$what: possible") : isnt($said, 'done', "$what: refused");
}

for my $user ($root ? (0, 1) : 1) {
	for my $version (0, 99) {
		subtest(($user ? 'a user' : 'root') . ($version ? ', confined' : '') => sub {
			my $tried = tried($user, [], $version ? '--confine' : ());
			is_deeply([sort keys %$tried], [sort keys %may], 'everything was tried');
			row_is_right($tried, $_, $user ? 'u' : 'r', $version) for sort keys %may;
		});
	}
}

# t/old-kernel.c has Landlock be what it was.
my $old = "$work/old-kernel";
is(system('cc', '-D_GNU_SOURCE', '-Wall', '-o', $old, "$top/t/old-kernel.c"), 0, 'an old kernel');
my %missing = (
	0 => qr/: QEMU is not confined: this kernel has no Landlock/,
	1 => qr/: QEMU is confined, but for truncate\(2\), TCP, ioctl on devices, signals to other processes and abstract sockets: this kernel's/,
	2 => qr/: QEMU is confined, but for truncate\(2\), TCP,/,
	3 => qr/: QEMU is confined, but for TCP, ioctl on devices, signals/,
	4 => qr/: QEMU is confined, but for ioctl on devices, signals/,
	5 => qr/: QEMU is confined, but for signals to other processes and abstract sockets:/,
	6 => undef,
);
for my $version (sort keys %missing) {
	subtest "where Landlock's version is $version" => sub {
		my ($tried, $log) = tried(!$root, [$old, $version], '--confine');
		is_deeply([sort keys %$tried], [sort keys %may], 'everything was tried');
		$missing{$version} ? like($log, $missing{$version}, 'the log says what is missing') : unlike($log, qr/confined/, 'the log says nothing');
		row_is_right($tried, $_, $root ? 'r' : 'u', $version) for sort keys %may;
	};
}

# A definition needs no word for it; in its own directory QEMU makes files, but no links; and it makes threads, but no processes. With a
# tap it gets at all that its user may make or open, with a user network at all that listens.
my @possible = ('own', 'fill-disk', 'fill-threads', grep { $may{$_} =~ ($root ? qr/R/ : qr/U/) } qw(bpf qmp control loader));
my %nics = (
	'' => [[]],
	' with a tap' => [[{ type => 'tap', ifname => 'qs-mine', script => 'no', downscript => 'no' }], $root ? ('tun', 'tap') : ()],
	' with a user network' => [[{ type => 'user' }], 'tcp-connect'],
);
for my $with (sort keys %nics) {
	subtest "a definition$with" => sub {
		my ($nics, @more) = @{ $nics{$with} };
		T::define('attacker', { emulator => $attacker, machine => 'q35', nics => $nics });
		local %ENV = (%ENV, targets());
		my $s = supervise(vm => 'attacker');
		is($s->end, 69, 'it ends');
		my %tried = $s->log =~ /^tried: ([\w-]+): (.*)$/mg;
		is_deeply([sort grep { $tried{$_} eq 'done' } keys %tried], [sort @possible, @more], 'all but what has no rule is refused');
		is(scalar keys %tried, scalar keys %may, 'everything was tried');
		unlike($s->log, qr/not confined/, 'and nothing is said');
	};
}

# Instead of swtpm and virtiofsd: each gets at its own directory, and at what no rule is for.
subtest 'programs beside QEMU' => sub {
	my $bin = "$work/bin";
	mkdir($bin);
	for my $program (qw(swtpm virtiofsd)) {
		link($attacker, "$bin/$program") or die $!;
	}
	local %ENV = (%ENV, targets(), PATH => "$bin:$ENV{PATH}");
	my @share = (path => $anywhere, tag => 'x');
	my %by_root = (
		tpm => [{ tpm => JSON::PP::true }, 'own', 'fill-disk'],
		share => [{ shares => [{ @share }] }, 'anywhere', 'remove'],
		'read-only' => [{ shares => [{ @share, 'read-only' => JSON::PP::true }] }],
		'not-confined' => [{ tpm => JSON::PP::true, confine => JSON::PP::false }, grep { ($may{$_} // '') =~ /r/ } keys %may],
	);
	for my $name (sort keys %by_root) {
		my ($keys, @may) = @{ $by_root{$name} };
		spew($removed, '');
		unlink("$anywhere/made");
		T::define($name, { %{ T::fake_definition("$work/qemu-$name", fake_qemu()) }, confine => JSON::PP::true, %$keys });
		my $s = supervise(vm => $name);
		is($s->end, 69, "$name: it ends") or diag($s->log);
		my %tried = $s->log =~ /^tried: ([\w-]+): (.*)$/mg;
		my %done = map { $_ => 1 } grep { $tried{$_} eq 'done' && defined $may{$_} } keys %tried;
		my %expected = map { $_ => 1 } @may, grep { ($may{$_} // '') =~ /R/ } keys %may;
		is_deeply([sort keys %done], [sort keys %expected], 'and gets at that alone');
		is(scalar keys %tried, scalar keys %may, 'everything was tried') or diag($s->log);
	}
} if $root;

is($other->qmp->status, 'running', 'the other VM runs');
$other->signal('QUIT');
$other->ends_with(80, qr/quit/, 'the other VM');
done_testing;
