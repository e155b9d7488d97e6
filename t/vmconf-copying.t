#!/usr/bin/perl
# While vmconf clone copies big disks: others can change what it does not copy, and are refused the rest with words; a
# terminal shows how far it is; a signal takes it back at once, and kill -9 with the next change.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-img', 'strace');
need_that('perl has IO::Pty', sub { eval { require IO::Pty } });
need_that('strace may trace', sub { (run_command('strace', '-o', "$work/may", 'true'))[0] == 0 });

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $program = $ENV{T_VMCONF} || "$top/vmconf";
my %real = map { my $name = $_; $name => (grep { -x } map { "$_/$name" } split /:/, $ENV{PATH})[0] } 'cp', 'qemu-img';

# A copy that is made in part and then waits until the gate is opened; only the copies of qemu-img do.
mkdir "$work/bin";
POSIX::mkfifo("$work/gate", 0600) or die "mkfifo: $!";
sub put_gate {
	my ($name, $pattern) = @_;
	spew("$work/bin/$name", <<"END");
#!/bin/sh
case \$1 in $pattern) ;; *) exec $real{$name} "\$@" ;; esac
for to; do :; done
head -c 100000 /dev/zero >"\$to"
echo \$\$ >'$work/begun.new'
mv '$work/begun.new' '$work/begun'
read go <'$work/gate'
rm "\$to"
exec $real{$name} "\$@"
END
	chmod 0755, "$work/bin/$name";
}
put_gate('cp', '--reflink*');
put_gate('qemu-img', 'convert');

sub background {
	my ($setup, @words) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDERR, '>', "$work/err.$words[-1]");
		$setup->();
		exec($program, @words) or POSIX::_exit(127);
	}
	return $pid;
}

# Begins a clone and waits until it copies.
sub copying {
	my ($setup, @words) = @_;
	unlink "$work/begun";
	my $pid = background(sub { $ENV{PATH} = "$work/bin:$ENV{PATH}"; $setup->() }, 'clone', '-q', @words);
	wait_until('the copy', sub { -e "$work/begun" });
	return $pid;
}

# Its wait status; what it waits for is bounded.
sub ended {
	my ($pid, $what) = @_;
	my $status;
	wait_until($what, sub { waitpid($pid, POSIX::WNOHANG()) == $pid && defined($status = $?) });
	return $status;
}

sub copier { return (split ' ', slurp("$work/begun"))[0] }

# What a clone leaves: its definition, directory, list of files, journal.
sub left { return join ' ', grep { -e } "$config/$_[0].json", "$state/$_[0]", glob("$state/.$_[0].made.json $state/.journal*") }
sub nothing_left { return is(left($_[0]), '', "nothing of $_[0] is left") }

# Expects success of a change that must not wait for the clone.
sub goes_on {
	my (@words) = @_;
	return is(ended(background(sub { }, @words), "vmconf @words"), 0, "vmconf @words goes on") || diag(slurp("$work/err.$words[-1]"));
}

vmconf_does('create', $_, quick('--disk', '1M')) for 'src', 'other';
run_command($real{'qemu-img'}, 'create', '-q', '-f', 'raw', "$work/base.raw", '1M');
vmconf_does('create', 'based', quick('--image', "$work/base.raw"));

for my $how (['src', 'cp'], ['based', 'qemu-img convert']) {
	my ($src, $copier) = @$how;
	subtest "others meanwhile: $copier" => sub {
		my $pid = copying(sub { }, $src, 'dst');
		goes_on('create', 'fresh', quick('--disk', '1M'));
		goes_on('set', 'fresh', 'cpus=2');
		goes_on('set', $src, 'description=new');
		goes_on('rename', 'fresh', 'stale');
		goes_on('delete', 'stale');
		my ($status, undef, $err) = vmconf('check');
		is("$status$err", '0', 'check has nothing to say, and takes nothing back');
		ok(-e "$state/dst/root.qcow2" && !definition('dst'), 'it is still copied');

		vmconf_fails(1, qr/dst is being made by another vmconf: try again when that is done/, @$_)
			for ['create', 'dst'], ['clone', 'other', 'dst'], ['clone', $src, 'dst'], ['rename', 'other', 'dst'];
		vmconf_fails(1, qr/there is no VM dst, but another vmconf is making it: try again/, $_->[0], 'dst', @$_[1 .. $#$_])
			for ['delete'], ['rename', 'third'], ['set', 'cpus=1'];
		vmconf_fails(1, qr/$src is being copied by another vmconf: try again when that is done/, @$_)
			for ['delete', $src], ['delete', 'other', $src], ['rename', $src, 'third'];
		ok(definition($src) && definition('other'), 'nothing of it was done');
		my $s = supervise(vm => $src);
		$s->wait_log(qr/VM $src is being changed: a vmconf holds/);
		is($s->end, 71, 'it cannot be started');

		my $second = background(sub { }, 'clone', $src, 'twin');
		wait_until('the second clone waits', sub { slurp("$work/err.twin") =~ /another vmconf copies the disks of $src: waiting for it/ });
		goes_on('set', 'other', 'cpus=2');
		spew("$work/gate", "go\n");
		is(ended($pid, 'the clone'), 0, 'cloned') or diag(slurp("$work/err.dst"));
		is(ended($second, 'the second clone'), 0, 'and once more') or diag(slurp("$work/err.twin"));
		is(slurp("$work/err.dst"), '', 'without a terminal nothing is shown');
		is((run_command($real{'qemu-img'}, 'compare', "$state/$src/root.qcow2", "$state/$_/root.qcow2"))[0], 0, "$_ is as it should be") for 'dst', 'twin';
		is(join(' ', glob "$state/.journal*"), '', 'the journal is gone');
		is(definition('dst')->{description}, undef, 'it has what the other had when it began');
		my $t = running(vm => $src);
		$t->signal('QUIT');
		$t->ends_with(0, qr/no guest was running/, 'the other one can be started again');
		vmconf_does('set', $src, 'description=');
		vmconf_does('delete', 'dst', 'twin');
	};
}

subtest 'killed' => sub {
	my $pid = copying(sub { }, 'src', 'dst');
	my $copier = copier();
	kill('KILL', $pid);
	is(ended($pid, 'its end'), 9, 'by kill -9');
	like(left('dst'), qr/journal\.dst\.json/, 'its journal is there');
	is(vmconf_does('check'), '', 'the next one takes it back');
	nothing_left('dst');
	unlike(slurp("/proc/$copier/stat"), qr/\) [^Z]/, 'and has waited for what copied');
	vmconf_does('clone', 'src', 'dst');
	vmconf_does('delete', 'dst');
};

subtest 'a signal' => sub {
	for my $signal ('INT', 'TERM', 'HUP') {
		my $pid = copying(sub { }, 'src', 'dst');
		kill($signal, $pid);
		my $status = ended($pid, $signal);
		is((POSIX::WIFSIGNALED($status) && POSIX::WTERMSIG($status)), { INT => 2, TERM => 15, HUP => 1 }->{$signal}, "SIG$signal ends it");
		like(slurp("$work/err.dst"), qr/interrupted: what was copied is removed/, 'it says so');
		nothing_left('dst');
	}
	my $pid = copying(sub { $SIG{HUP} = 'IGNORE' }, 'src', 'dst');
	kill('HUP', $pid);
	goes_on('set', 'other', 'cpus=1');
	spew("$work/gate", "go\n");
	is(ended($pid, 'the clone'), 0, 'one that is ignored does not');
	vmconf_does('delete', 'dst');
};

subtest 'a terminal' => sub {
	my $pty = IO::Pty->new;
	my $screen = '';
	my $see = sub { sysread($pty, $screen, 65536, length $screen) };
	$pty->blocking(0);
	my $pid = copying(sub { open(STDERR, '>&', $pty->slave) or POSIX::_exit(126) }, 'src', 'dst');
	wait_until('progress', sub { $see->(); $screen =~ /copying root\.qcow2: \d+\.\d of \d+\.\d GiB/ });
	spew("$work/gate", "go\n");
	is(ended($pid, 'the clone'), 0, 'cloned');
	$see->();
	like($screen, qr/waiting until all is on the disk/, 'how far it is');
	like($screen, qr/\e\[K$/, 'the line is cleared at the end');
	vmconf_does('delete', 'dst');
};

# strace -y writes descriptors as 3</path>.
subtest 'the disk comes first' => sub {
	my @traced = ('strace', '-qq', '-y', '-e', 'trace=fsync,fcntl,renameat2,close,openat', '-o', "$work/trace", $program);
	is((run_command(@traced, 'clone', 'src', 'dst'))[0], 0, 'cloned');
	my @lines = split /\n/, slurp("$work/trace");
	my $find = sub { my ($pattern) = @_; my ($n) = grep { $lines[$_] =~ $pattern } 0 .. $#lines; return $n // -1 };
	my $disk = $find->(qr/^fsync\(\d+<\S*\/dst\/root\.qcow2>\) += 0/);
	my $dir = $find->(qr/^fsync\(\d+<\S*\/dst>\) += 0/);
	my $name = $find->(qr/^renameat2\(.*"dst\.json"/);
	ok($disk >= 0 && $disk < $dir && $dir < $name, 'disk, directory, definition') or diag(slurp("$work/trace"));
	my @locks = grep { $lines[$_] =~ /^(?:fcntl\(\d+<\Q$state\E\/\.lock>, F_OFD_SETLK, .*= 0|close\(\d+<\Q$state\E\/\.lock>)/ } 0 .. $#lines;
	is(scalar(@locks), 4, 'the lock is taken twice');
	ok($locks[1] < $disk && $disk < $locks[2] && $locks[2] < $name, 'and not held while the disk is synced, but for the definition');
	vmconf_does('delete', 'dst');
};

done_testing;
