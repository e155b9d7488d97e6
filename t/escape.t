#!/usr/bin/perl
# What somebody gets at who has taken over QEMU: t/escape.c is executed in its place and tries it, confined and not, as root
# and as another user.
use strict;
use warnings;
use FindBin;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket;
use JSON::PP ();
use lib $FindBin::Bin;
use SystemUser;
use T;

need('cc', 'setpriv');
my $attacker = "$work/qemu-attacker";
is(system('cc', '-D_GNU_SOURCE', '-Wall', '-o', $attacker, "$top/t/escape.c"), 0, 'the attacker');
my $root = $> == 0;

# What is tried, and where it may succeed: confined as root (R) and as a user (U), not confined as root (r) and as a user (u). Any
# other is refused.
my %may = (
	'shadow' => 'r',	# somebody else's files
	'read-disk' => 'r',
	'write-disk' => 'r',
	'cut-disk' => 'r',
	'definition' => 'r',
	'history' => 'r',
	'anywhere' => 'ru',	# new files, and removing some
	'remove' => 'ru',
	'list-etc' => 'ru',
	'list-root' => 'r',
	'mem' => undef,		# the kernel may refuse it itself
	'kmsg' => 'r',
	'tun' => undef,		# its mode is the host's
	'sysctl' => undef,	# the host may have it read-only
	'link' => 'ru',
	'signal' => 'r',	# other processes: those of root
	'signal-supervisor' => 'ru',
	'ptrace' => undef,	# yama may refuse it itself
	'proc-mem' => 'r',
	'vm-readv' => 'r',
	'mount' => 'r',
	'bpf' => undef,		# Landlock has no rule for it, and the kernel may leave it to root
	'tty' => undef,		# ours may be one; a definition's has none
	'descriptors' => undef,	# the same
	'qmp' => 'rR',		# a socket with a path: Landlock has no rule for connect(2)
	'abstract' => 'ru',
	'tcp-listen' => 'ru',
	'tcp-connect' => 'ru',
	'setuid' => 'ru',
	'shell' => 'ru',
);

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
my $tcp = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die $!;
my $abstract;
socket($abstract, AF_UNIX, SOCK_STREAM, 0) && bind($abstract, pack_sockaddr_un("\0qs-escape-$$")) && listen($abstract, 5) or die $!;

my $removed = "$anywhere/removed";

sub targets {
	return (OTHER_DISK => $disk, OTHER_STATE => $state, DEFINITION => $definition, ANYWHERE => $anywhere, REMOVED => $removed,
		OTHER_PID => $other->qemu, OTHER_QMP => $other->dir . '/qmp', ABSTRACT => "qs-escape-$$", PORT => $tcp->sockport);
}

# What came of each attempt of the attacker, started by a supervisor.
sub tried {
	my ($user, @options) = @_;
	my $dir = "$work/run-" . ($user ? 'user' : 'root');
	mkdir($dir, 0700);
	chown(65534, 65534, $dir) if $user && $root;
	spew($removed, '');
	unlink("$anywhere/made", "$anywhere/link");
	chown(65534, 65534, $removed) if $user && $root;
	my $s = supervise(command => [$attacker], name => 'attacker', options => [@options],
		env => { targets(), QEMU_SUPERVISE_RUNTIME_DIR => $dir, QEMU_SUPERVISE_CONFIG_DIR => "$dir/none", QEMU_SUPERVISE_STATE_DIR => "$dir/none" },
		setup => sub { chdir($anywhere) or die $! },
		prefix => $user && $root ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []);
	is($s->end, 69, 'it ends') or diag($s->log);
	return { $s->log =~ /^tried: ([\w-]+): (.*)$/mg };
}

for my $user ($root ? (0, 1) : 1) {
	for my $confined (0, 1) {
		my $letter = $user ? $confined ? 'U' : 'u' : $confined ? 'R' : 'r';
		subtest(($user ? 'a user' : 'root') . ($confined ? ', confined' : '') => sub {
			my $tried = tried($user, $confined ? '--confine' : ());
			is_deeply([sort keys %$tried], [sort keys %may], 'everything was tried');
			for my $what (sort keys %may) {
				next if $what =~ /^(tty|descriptors)$/ || ($what eq 'bpf' && $letter eq 'R');
				my $may = defined $may{$what} ? $may{$what} =~ /$letter/ : $confined ? 0 : next;
				my $said = $tried->{$what} // 'nothing';
				$may ? is($said, 'done', "$what: possible") : isnt($said, 'done', "$what: refused");
			}
		});
	}
}

# What came of it in a VM with a definition, whose supervisor has a terminal and a descriptor more. Without a terminal of perl's
# it has none.
sub tried_in {
	my ($name, $env, %definition) = @_;
	my $pty = eval { require IO::Pty; IO::Pty->new };
	T::define($name, { emulator => $attacker, machine => 'q35', accel => 'tcg', %definition });
	my $s = supervise(vm => $name, env => $env, setup => sub {
		POSIX::dup2(POSIX::open("/etc/passwd", POSIX::O_RDONLY()), 8);
		return if !$pty;
		$pty->make_slave_controlling_terminal;
		open(STDIN, '<&', $pty->slave) or die "stdin: $!";
		open(STDOUT, '>&', $pty->slave) or die "stdout: $!";
	});
	is($s->end, 69, "$name: it ends") or diag($s->log);
	unlike($s->log, qr/not confined/, "$name: nothing is said of confinement");
	my %tried = $s->log =~ /^tried: ([\w-]+): (.*)$/mg;
	is(scalar keys %tried, scalar keys %may, "$name: everything was tried");
	return [sort grep { $tried{$_} eq 'done' } keys %tried];
}

# A definition needs no word for it; and in its own directory QEMU makes files, but no links.
subtest 'a definition' => sub {
	is_deeply(tried_in('attacker', { targets() }), [], 'as the system user nothing is possible: no socket of others, no terminal of ours');
	return if !$root;
	my $done = tried_in('as-root', { targets() }, 'run-as' => 'root');
	is_deeply([grep { $_ ne 'bpf' } @$done], ['qmp'], 'as root all but what Landlock has no rule for is refused');
	my $open = tried_in('open', { targets() }, 'run-as' => 'root', confine => JSON::PP::false, sandbox => JSON::PP::false);
	ok(!grep({ /^(tty|descriptors)$/ } @$open), 'whatever it may do, it has not inherited a terminal or a descriptor');
	ok(grep({ $_ eq 'shadow' } @$open), 'which is everything else');
	is_deeply([grep { $_ eq 'bpf' } @{ tried_in('user', { targets() }, confine => JSON::PP::false) }], [], 'bpf(2) is root\'s')
		if grep { $_ eq 'bpf' } @$done;
};

# Two VMs without Landlock, between which only their uids stand.
subtest 'a uid of its own' => sub {
	plan skip_all => 'needs root' if !$root;
	need('qemu-system-x86_64');
	my $between = sub {
		my ($user) = @_;
		my %alike = (confine => JSON::PP::false, ($user ? ('run-as' => $user) : ()));
		T::define('neighbour', { accel => 'tcg', memory => '64M', args => ['-S'], %alike });
		my $neighbour = supervise(vm => 'neighbour');
		$neighbour->wait_log(qr/QEMU runs/);
		my $done = tried_in('attacker', { targets(), OTHER_PID => $neighbour->qemu, OTHER_QMP => $neighbour->dir . '/qmp' }, %alike);
		$neighbour->signal('QUIT');
		$neighbour->ends_with(0, qr/no guest was running/, 'the neighbour lives');
		return [grep { /^(signal|ptrace|proc-mem|vm-readv|qmp)$/ } @$done];
	};
	is_deeply($between->('own'), [], 'neither signals nor traces the other');
	ok(grep({ $_ eq 'signal' } @{ $between->(undef) }), 'one user for both does');
};

is($other->qmp->status, 'running', 'the other VM runs');
$other->signal('QUIT');
$other->ends_with(80, qr/quit/, 'the other VM');
done_testing;
