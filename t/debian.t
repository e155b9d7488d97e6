#!/usr/bin/perl
# A whole Debian guest: stopped at moments of its boot (6; under T_SOAK 12), and pressed every second while it goes down, whoever
# obeys the button there; what systemd in it learns by credentials alone.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;
use Time::HiRes qw(sleep);

need('qemu-system-x86_64', 'qemu-img', 'qemu-io', 'mmdebstrap', 'mke2fs', 'debugfs', 'ssh-keygen');
need_that('root', sub { $> == 0 });

my $debian = "$top/build/debian";
system("$top/t/debian-guest", $debian) == 0 or die "t/debian-guest failed\n";
my $seed = $ENV{T_SEED} || int(rand(1e9));
srand($seed);
note("T_SEED=$seed");
my $off = qr/the guest powered itself off \(status 0\); TERM: powerdown \S+s$/;
my @patient = ('--boot-timeout', '20m', '-o', 'TERM=powerdown 20m, quit 10s, kill');	# for a machine that is slow
my %masked = (logind => [qw(acpid.service acpid.socket acpid.path)], acpid => ['systemd-logind.service']);

# who: obeys the button; delay: how long it takes to go down, in seconds.
sub debian {
	my ($who, $machine, $delay) = @_;
	our $count++;
	my ($disk, $console) = ("$work/debian.$count.qcow2", "$work/debian.$count.console");
	run_command('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', "$debian/disk.raw", $disk);
	my $s = supervise(options => \@patient, command => ['qemu-system-x86_64', '-machine', $machine, '-accel', 'tcg', '-m', '512M',
			'-nodefaults', '-no-user-config', '-display', 'none', '-kernel', "$debian/vmlinuz", '-initrd', "$debian/initrd",
			'-append', "root=/dev/vda rw console=ttyS0 quiet delay=$delay" . join(' systemd.mask=', '', @{ $masked{$who} }),
			'-serial', "file:$console", '-drive', "file=$disk,if=virtio"]);
	@$s{qw(disk console)} = ($disk, $console);
	return $s;
}

# s_state of the ext4 super block, and whether its journal needs recovery.
sub is_clean {
	my ($disk) = @_;
	my @words = map { hex((run_command('qemu-io', '-f', 'qcow2', '-r', '-c', "read -v $_ 2", $disk))[1] =~ /^\S+:\s+(\w\w)/m ? $1 : 'ff') }
		1024 + 0x3a, 1024 + 0x60;
	return ($words[0] & 1) && !($words[1] & 4);
}

sub went_down {
	my ($s, $what) = @_;
	$s->ends_with(0, $off, $what);
	ok(is_clean($s->{disk}), "$what: file system clean");
	cmp_ok(scalar(() = $s->console =~ /guest: stopping/g), '<=', 1, "$what: it goes down once");
}

my $boot;	# how long that takes
subtest 'pressed every second while it goes down' => sub {
	for my $who ('logind', 'acpid') {
		my $s = debian($who, 'q35', 4);
		my $start = time;
		$s->wait_console(qr/guest: up/);
		$boot = time - $start;
		$s->signal('TERM');
		$s->wait_console(qr/guest: stopping/);
		went_down($s, $who);
		my ($presses) = reverse($s->log =~ /pressed again, (\d+) times in all/g);
		cmp_ok($presses // 0, '>=', 4, "$who: pressed again");
	}
};

# An image without cloud-init, and with nothing of ours in it: systemd itself reads them.
subtest 'credentials alone' => sub {
	local $ENV{HOME} = "$work/home";
	delete local @ENV{qw(SSH_AUTH_SOCK SUDO_USER)};
	mkdir $_ for "$work/home", "$work/home/.ssh";
	is((run_command('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', "$work/home/.ssh/id_ed25519"))[0], 0, 'a key');
	vmconf_does('create', 'bare', '--image', "$debian/disk.raw", '--image-format', 'raw', '--memory', '512M', '--set', 'accel=tcg',
		'--set', "kernel=$debian/vmlinuz", '--set', "initrd=$debian/initrd",
		'--set', "append=root=/dev/vda rw console=ttyS0 quiet delay=0" . join(' systemd.mask=', '', @{ $masked{logind} }),
		'--set', 'credentials={"tmpfiles.extra": "w /dev/ttyS0 - - - - guest: this is of a credential\\n"}',
		'--set', 'on.TERM=powerdown 20m, quit 10s, kill', '--set', 'boot-timeout=20m');
	vmconf_does('start', '--no-wait', 'bare');
	my $console = wait_until('the guest', sub {
		my ($status, $out) = vmconf('console', '--log', 'bare');
		return $status == 0 && $out =~ /guest: up/ && $out;
	});
	like($console, qr/^guest: this is of a credential/m, 'systemd has read one');
	vmconf_does('stop', 'bare');
	is((run_command('qemu-img', 'convert', '-O', 'raw', "$ENV{QEMU_SUPERVISE_STATE_DIR}/bare/root.qcow2", "$work/bare.raw"))[0], 0, 'its disk');
	my (undef, $keys) = run_command('debugfs', '-R', 'cat /root/.ssh/authorized_keys', "$work/bare.raw");
	is($keys, slurp("$work/home/.ssh/id_ed25519.pub"), 'the key that create found lets root in');
	vmconf_does('delete', 'bare');
};

# The moments are the subject here: this is no wait for anything.
subtest 'moments of its boot' => sub {
	my @machines = qw(q35 pc);
	for my $round (1 .. ($ENV{T_SOAK} ? 6 : 3)) {
		my @moments = sort { $a <=> $b } map { rand(1.5 * $boot) } @machines;
		my @vms = map { debian('logind', $_, 0) } @machines;
		my $start = time;
		for my $i (0 .. $#vms) {
			my $left = $start + $moments[$i] - time;
			sleep($left) if $left > 0;
			$vms[$i]->signal('TERM');
		}
		went_down($vms[$_], sprintf('%s, TERM %.1fs after the start', $machines[$_], $moments[$_])) for 0 .. $#vms;
	}
};

done_testing;
