#!/usr/bin/perl
# The same as power-cuts.t with a real kernel: vmconf runs in a guest, on ext4, and the guest's QEMU is killed at random moments of
# its changes. What the guest had not written out is lost then. Afterwards there is what it said it had done, and what it was doing
# is there whole or not at all. The guest is booted once, and saved before it mounts its disk: each round begins there.
# T_SEED chooses the same moments again, T_CUTS how many.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use File::Basename qw(dirname);
use IO::Socket::UNIX;
use POSIX ();
use PowerCut ();
use T;
use Time::HiRes qw(usleep);

need('qemu-system-x86_64', 'qemu-img', 'mke2fs', 'cpio', 'tar', 'ldd', 'gcc');

my $rounds = $ENV{T_CUTS} || ($ENV{T_SOAK} ? 200 : 25);
my $seed = $ENV{T_SEED} || int(rand(1 << 31));
srand($seed);
diag("T_SEED=$seed");

my $disk = "$work/disk";	# a directory here, with the same path as the guest's
my ($archive, $saved, $initrd) = map { "$work/$_" } qw(archive saved initrd);
my $program = $ENV{T_VMCONF} || "$top/vmconf";
$ENV{QEMU_SUPERVISE_CONFIG_DIR} = "$disk/config";
$ENV{QEMU_SUPERVISE_STATE_DIR} = "$disk/state";
$ENV{QEMU_SUPERVISE_INIT} = "$top/init/none";
$ENV{QEMU_SUPERVISE_PATIENCE} = '10m';	# a guest on a busy machine is slow
$ENV{TMPDIR} = $work;
delete $ENV{VISUAL};
$ENV{EDITOR} = q(sed -i 's/"description": "[^"]*"/"description": "edited"/');
my @new = ('--nic', 'none', '--set', 'emulator=' . PowerCut::emulator("$work/emulator"));

# One after the other; after the last one all is as it was before the first.
my @changes = (
	['create', 'fresh', '--disk', '1M', @new],
	['set', 'base', 'description=new', 'cpus=2'],
	['clone', 'base', 'copy'],
	['rename', 'copy', 'moved'],
	['edit', 'base'],
	['delete', 'fresh'],
	['create', 'over', '--image', 'debian', @new],
	['create', 'plain', '--disk', '1M', '--set', 'disks.0.format=raw', @new],
	['delete', 'moved'],
	['rename', 'over', 'under'],
	['delete', 'plain'],
	['delete', 'under'],
	['set', 'base', 'description=old', 'cpus='],
);

my @states;	# before each of them

# How the disk is mounted, one after the other.
my @options = ('data=ordered', 'commit=1', 'nodelalloc', 'noauto_da_alloc', 'data=writeback,noauto_da_alloc');

# Without what is drawn, and what is another number on each disk.
sub text { return PowerCut::text(PowerCut::tree($_[0])) =~ s/"(?:uuid": "[^"]*"|inode": \d+)//gr }

# ---- the same changes here: the states in which the guest's disk may be ----

sub make_ext4 {
	mkdir("$disk$_") or die "$disk$_: $!" for '', '/config', '/state', '/state/images';
	run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$disk/state/images/debian.qcow2", '1M');
	utime(1e9, 1e9, "$disk/state/images/debian.qcow2");	# mke2fs knows no fractions of seconds
	vmconf_does('create', 'base', '--disk', '1M', '--set', 'description=old', @new);
	mkdir("$disk/state/base/boot");
	spew("$disk/state/base/boot/vmlinuz", 'kernel');
	vmconf_does('set', 'base', 'kernel=boot/vmlinuz');
	truncate(spew("$work/ext4", ''), 64 << 20);
	truncate(spew($archive, ''), 16 << 20);
	is((run_command('mke2fs', '-q', '-t', 'ext4', '-E', 'lazy_itable_init=0', '-d', $disk, '-F', "$work/ext4"))[0], 0, 'a disk is made');
}

sub all_states {
	my @states = text($disk);
	for my $change (@changes) {
		vmconf_does(@$change);
		push @states, text($disk);
	}
	is(pop @states, $states[0], 'after all changes everything is as before');
	return @states;
}

# ---- the guest ----

sub quoted { return join ' ', map { "'" . s/'/'\\''/gr . "'" } @_ }

sub settings {
	my $cases = join '', map { "$_) $program " . quoted(@{ $changes[$_] }) . " ;;\n" } 0 .. $#changes;
	return join "\n", (map { 'export ' . quoted("$_=$ENV{$_}") } grep { /^(?:QEMU_SUPERVISE_\w+|TMPDIR|EDITOR)$/ } sort keys %ENV),
		'PATH=' . dirname($program) . ':$PATH', "mkdir -p $disk $work", "disk=$disk", 'count=' . @changes,
		"change() {\ncase \$1 in\n$cases\nesac\n}\n";
}

# The libraries that programs need, where they are here.
sub libraries_of {
	my ($status, $out) = run_command('ldd', @_);
	die "ldd: $out" if $status != 0 || $out =~ /not found/;
	my %libraries = map { $_ => 1 } $out =~ /(\/\S+) \(0x/g;
	return sort keys %libraries;
}

sub make_initrd {
	my ($guest, $root) = (guest_files(), "$work/root");
	spew("$work/nosync.c", join '', map { "int $_(int fd);\nint $_(int fd)\n{\n\t(void)fd;\n\treturn 0;\n}\n" } qw(fsync fdatasync syncfs));
	is((run_command('gcc', '-shared', '-fPIC', '-o', "$work/nosync.so", "$work/nosync.c"))[0], 0, 'a library without syncs');
	my @programs = ($program, map { my $name = $_; (grep { -x } map { "$_/$name" } qw(/usr/bin /bin))[0] } qw(qemu-img cp));
	mkdir($root);
	is((run_command('cp', '-L', '--parents', '-t', $root, @programs, libraries_of(@programs), "$work/nosync.so", "$work/emulator",
		$ENV{QEMU_SUPERVISE_INIT}))[0], 0, 'what the guest needs');
	system('cp', "$top/t/power-cuts-init", "$root/init");
	spew("$root/settings", settings());
	system("cp $guest/initrd $initrd && cd $root && find . | cpio -o -H newc --quiet -R 0:0 >>$initrd") == 0 or die 'cpio failed';
}

my $count = 0;

# Starts the guest's QEMU with a disk: {pid, console, qmp, line (of the guest's serial line)}.
sub start {
	my ($image, @more) = @_;
	my $g = { console => "$work/console." . $count++ };
	unlink("$work/qmp", "$work/line");
	my @qemu = guest_command('cuts', disk => $image, console => $g->{console}, args => ['-m', 256, '-initrd', $initrd,
		'-serial', "unix:$work/line,server=on,wait=off", '-qmp', "unix:$work/qmp,server=on,wait=off",
		'-drive', "file=$archive,format=raw,if=virtio,cache=unsafe", @more]);
	$g->{pid} = fork // die "fork: $!";
	if ($g->{pid} == 0) {
		open(STDOUT, '>', '/dev/null');
		exec(@qemu) or POSIX::_exit(127);
	}
	$g->{qmp} = qmp_connect("$work/qmp");
	$g->{line} = IO::Socket::UNIX->new(Peer => "$work/line") or die "$work/line: $!";
	return $g;
}

# Waits until the guest says what matches, and returns what the parentheses match.
sub says {
	my ($g, $what) = @_;
	return wait_until(sub { "$what:\n" . slurp($g->{console}) }, sub {
		my @found = slurp($g->{console}) =~ $what;
		die "QEMU has ended:\n", slurp($g->{console}) if !@found && waitpid($g->{pid}, POSIX::WNOHANG()) == $g->{pid};
		return @found ? \@found : undef;
	})->[0];
}

sub say_to {
	my ($g, @words) = @_;
	syswrite($g->{line}, "@words\n");
}

# The power fails.
sub cut {
	my ($g) = @_;
	kill('KILL', $g->{pid});
	waitpid($g->{pid}, 0);
}

sub save {
	my $g = start("$work/ext4");
	says($g, qr/guest: (ready)\r?\n/);
	$g->{qmp}->command('migrate', { uri => "exec:cat >$saved" });
	wait_until('the guest to be saved', sub { ($g->{qmp}->command('query-migrate')->{status} // '') eq 'completed' });
	cut($g);
}

# Resumes the guest, which finds its disk as the last cut has left it: {..., left => files of a change
# that was cut off, check => what vmconf check says, is => the state}.
sub resume {
	my ($image, $options, @library) = @_;
	my $g = start($image, '-incoming', "exec:cat $saved");
	wait_until('the guest to go on', sub { $g->{qmp}->status eq 'running' });
	say_to($g, int(time) + 60 * $count, $options, @library);	# in no round earlier than in the one before
	$g->{left} = says($g, qr/guest: left: ?(.*?)\r?\n/);
	$g->{check} = says($g, qr/guest: check: (.*?)\r?\nguest: archived\r?\n/s) =~ s/\r//gr;
	my $found = "$work/found";
	system("rm -rf $found && mkdir $found && tar -xpmf $archive -C $found") == 0 or die 'tar failed';
	$g->{is} = text($found);
	return $g;
}

# ---- what must be so ----

# The numbers of the changes before which the disk may be as it is, after what a guest has said: those that it did are there.
sub possible {
	my ($g, $before) = @_;
	my @did = slurp($g->{console}) =~ /guest: did (\d+)\r?\n/g;
	my $next = @did ? ($did[-1] + 1) % @changes : $before;
	return ($next, ($next + 1) % @changes);
}

# What is wrong with the guest after a cut, '' if nothing is; and before which change it is.
sub wrong_with {
	my ($g, @possible) = @_;
	my ($n) = grep { $states[$_] eq $g->{is} } @possible;
	my $said = $g->{check} =~ s/^vmconf: \S+: its last change is finished now$//mgr;
	my $why = $said !~ /^0\s*$/ ? "check: $said" : defined $n ? '' : "neither before $possible[0] nor before $possible[1]";
	return ($why, $n);
}

# ---- all of it ----

make_ext4();
@states = all_states();
make_initrd();
save();

# Not cut off: how long it takes, and that the guest does what is done here.
my $g = resume("$work/ext4", $options[0]);
is((wrong_with($g, 0, 0))[0], '', 'the guest begins with the same disk') or diag($g->{is});
my @takes;	# seconds, of each change
say_to($g, 0);
for my $n (0 .. $#changes) {
	says($g, qr/guest: begins ($n)\r?\n/);
	my $began = time;
	says($g, qr/guest: did ($n)\r?\n/);
	push @takes, time - $began;
}
cut($g);
unlike(slurp($g->{console}), qr/failed/, 'and can make all changes') or diag(slurp($g->{console}));
note('they take ', join ' ', map { sprintf '%.2f', $_ } @takes);

# A round: makes changes from $n on, and is cut off at some moment of one of them. Returns before which the disk may be then.
sub round {
	my ($g, $n, $at) = @_;
	say_to($g, $n);
	says($g, qr/guest: begins ($at)\r?\n/);
	usleep(rand(1.2 * $takes[$at]) * 1e6);
	cut($g);
	my $said = slurp($g->{console});
	$takes[$at] *= $said =~ /guest: did $at\r?\n/ ? 0.8 : 1.1;	# the host's load changes
	unlike($said, qr/failed/, 'no change fails') or diag($said);
	return possible($g, $n);
}

my ($n, @possible) = (0, possible($g, 0));
my %in = (old => 0, new => 0);
for my $round (1 .. $rounds + 1) {
	$g = resume("$work/ext4", $options[$round % @options]);
	(my $why, $n) = wrong_with($g, @possible);
	is($why, '', "$round: as the guest said, old or new") or diag(slurp($g->{console}), $states[$possible[0]], "is:\n", $g->{is});
	last if $why || $round > $rounds;
	$in{ $n == $possible[0] ? 'old' : 'new' }++ if $round > 1;
	$in{"with $g->{left}"}++ if $g->{left};
	@possible = round($g, $n, ($n + int(rand(3))) % @changes);
}
cut($g);
diag("$rounds cuts: ", join ', ', map { "$in{$_} $_" } sort keys %in);

# Without syncs that is noticed: the kernel itself writes nothing out before it has changed much, or 5 minutes have passed.
my ($noticed, $without) = (0, $ENV{T_SOAK} ? 10 : 1);
for my $round (defined $n ? 1 .. $without : ()) {
	system('cp', '--sparse=always', "$work/ext4", "$work/other") == 0 or die 'cp failed';
	my $g = resume("$work/other", 'commit=300', "$work/nosync.so");
	my (undef, $n) = wrong_with($g, 0 .. $#changes);
	my @possible = round($g, $n, ($n + 2) % @changes);
	$g = resume("$work/other", $options[0]);
	my ($why) = wrong_with($g, @possible);
	cut($g);
	note("without syncs: $why");
	$noticed++ if $why;
}
is($noticed, $without, 'where vmconf syncs nothing, that is noticed');

done_testing;
