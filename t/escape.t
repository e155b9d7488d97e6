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
my $tcp = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1') or die $!;
my $abstract;
socket($abstract, AF_UNIX, SOCK_STREAM, 0) && bind($abstract, pack_sockaddr_un("\0qs-escape-$$")) && listen($abstract, 100) or die $!;

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
	unlink(map { "$anywhere/$_" } qw(made link own));
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
				my $may = defined $may{$what} ? $may{$what} =~ /$letter/ : $confined ? 0 : next;
				my $said = $tried->{$what} // 'nothing';
				$may ? is($said, 'done', "$what: possible") : isnt($said, 'done', "$what: refused");
			}
		});
	}
}

# A definition needs no word for it; and in its own directory QEMU makes files, but no links.
subtest 'a definition' => sub {
	T::define('attacker', { emulator => $attacker, machine => 'q35' });
	local %ENV = (%ENV, targets());
	my $s = supervise(vm => 'attacker');
	is($s->end, 69, 'it ends');
	my %tried = $s->log =~ /^tried: ([\w-]+): (.*)$/mg;
	is_deeply([sort grep { $tried{$_} eq 'done' } keys %tried], $root ? ['own', 'qmp'] : ['own'], 'all but what has no rule is refused');
	is(scalar keys %tried, scalar keys %may, 'everything was tried');
	unlike($s->log, qr/not confined/, 'and nothing is said');
};

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
		tpm => [{ tpm => JSON::PP::true }, 'own'],
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
		my %expected = map { $_ => 1 } @may, 'qmp';
		is_deeply([sort keys %done], [sort keys %expected], 'and gets at that alone');
		is(scalar keys %tried, scalar keys %may, 'everything was tried') or diag($s->log);
	}
} if $root;

is($other->qmp->status, 'running', 'the other VM runs');
$other->signal('QUIT');
$other->ends_with(80, qr/quit/, 'the other VM');
done_testing;
