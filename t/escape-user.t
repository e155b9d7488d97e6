#!/usr/bin/perl
# What somebody gets at who has taken over QEMU of a definition (t/escape.c), as the system user, with a uid of the VM's own, and
# as root: other VMs' sockets, processes and files, a terminal, descriptors of the supervisor.
use strict;
use warnings;
use FindBin;
use JSON::PP ();
use POSIX ();
use lib $FindBin::Bin;
use SystemUser;
use T;

need('cc', 'qemu-system-x86_64', 'unshare');
need_that('we are root', sub { $> == 0 });
need_that('perl has IO::Pty', sub { eval { require IO::Pty } });
chmod(0755, $work);
my $attacker = "$work/qemu-attacker";
is(system('cc', '-D_GNU_SOURCE', '-Wall', '-o', $attacker, "$top/t/escape.c"), 0, 'the attacker');
my %open = (confine => JSON::PP::false);
my $disk = spew("$work/disk", 'x' x 4096);
chmod(0600, $disk);

# The other VM: a QEMU that runs with such keys.
sub neighbour {
	T::define('neighbour', { accel => 'tcg', memory => '64M', args => ['-S'], @_ });
	my $s = supervise(vm => 'neighbour');
	$s->wait_log(qr/QEMU runs/);
	return $s;
}

# What is possible in a VM with such keys, whose supervisor has a terminal and a descriptor more (of a directory).
sub possible {
	my ($neighbour, %definition) = @_;
	my $pty = IO::Pty->new;
	T::define('attacker', { emulator => $attacker, accel => 'tcg', %definition });
	my $s = supervise(
		vm => 'attacker',
		env => { OTHER_PID => $neighbour->qemu, OTHER_DISK => $disk, map { ("OTHER_\U$_" => $neighbour->dir . "/$_") } 'qmp', 'control' },
		setup => sub {
			POSIX::dup2(POSIX::open($work, POSIX::O_RDONLY()), 8);
			$pty->make_slave_controlling_terminal;
			open(STDIN, '<&', $pty->slave) or die "stdin: $!";
			open(STDOUT, '>&', $pty->slave) or die "stdout: $!";
		}
	);
	is($s->end, 69, 'the attacker ends') or diag($s->log);
	my %tried = $s->log =~ /^tried: ([\w-]+): (.*)$/mg;
	ok(exists $tried{tty} && exists $tried{descriptors}, 'after everything was tried');
	return { map { $_ => 1 } grep { $tried{$_} eq 'done' } keys %tried };
}

sub refused {
	my ($possible, @what) = @_;
	is_deeply([grep { $possible->{$_} } @what], [], "refused: @what");
}

sub done {
	my ($possible, @what) = @_;
	is_deeply([grep { !$possible->{$_} } @what], [], "possible: @what");
}

my @inherited = qw(tty descriptors);
my @processes = qw(signal ptrace proc-mem vm-readv);
my @files = qw(shadow read-disk write-disk kmsg mount);
my @sockets = qw(qmp control);
# Which the kernel may leave to anybody.
my @bpf = slurp('/proc/sys/kernel/unprivileged_bpf_disabled') =~ /[12]/ ? 'bpf' : ();

subtest 'the system user' => sub {
	my $other = neighbour();
	refused(possible($other), @inherited, @processes, @files, @sockets, @bpf);
	my $open = possible($other, %open);
	refused($open, @inherited, @files, @sockets, @bpf);
	done($open, 'signal');
	$other->signal('QUIT');
	$other->ends_with(0, qr/no guest was running/, 'the neighbour lives');
};

subtest 'a uid of its own, without Landlock' => sub {
	my $other = neighbour('run-as' => 'own', %open);
	refused(possible($other, 'run-as' => 'own', %open), @inherited, @processes, @files, @sockets, @bpf);
	$other->signal('QUIT');
	$other->ends_with(0, qr/no guest was running/, 'the neighbour lives');
};

subtest 'root' => sub {
	my $other = neighbour();
	my $root = possible($other, 'run-as' => 'root');
	refused($root, @inherited, @processes, @files);
	done($root, @sockets);
	$root = possible($other, 'run-as' => 'root', sandbox => JSON::PP::false, %open);
	refused($root, @inherited);
	done($root, 'signal', 'shadow', 'read-disk', @sockets);
	$other->signal('QUIT');
	$other->ends_with(0, qr/no guest was running/, 'the neighbour lives');
};

done_testing;
