#!/usr/bin/perl
# Real guests that halt instead of powering off, and all that must not be mistaken for one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $later = spew("$work/later", "#!/bin/sh\nexec sleep 60\n");
chmod(0755, $later) or die "$later: $!";
my @impatient = ('--press-interval', 0, '-o', 'TERM=powerdown 5s, quit 10s, kill');
my @nodefaults = ('-accel', 'tcg', '-m', '64M', '-nodefaults', '-no-user-config', '-display', 'none');
my $count = 0;

# ---- firmware, and boot sectors: nothing in them listens to the button, so that is done for them ----

# A VM whose console shows what firmware writes where there is no VGA.
sub firmware {
	my (@args) = @_;
	my $console = "$work/firmware." . ++$count;
	my $s = supervise(options => \@impatient, command => ['qemu-system-x86_64', @nodefaults, '-serial', "file:$console", @args]);
	$s->{console} = $console;
	return $s;
}

# A boot sector that writes an @, and then executes CODE in real mode.
sub sector {
	my ($code, @args) = @_;
	my $say = "\xba\xf8\x03\xb0\@\xee";	# mov dx, 3f8h; mov al, '@'; out dx, al
	my $disk = spew("$work/sector." . ++$count, pack('a510 S<', $say . $code, 0xaa55) . "\0" x (1 << 20));
	return firmware('-machine', 'pc', '-drive', "file=$disk,format=raw,if=ide", @args);
}

# Enables the button in PM1_EN, as a driver does.
sub let_listen {
	my ($s) = @_;
	my $qmp = $s->qmp;
	my $base = wait_until('registers', sub { $qmp->hmp('info mtree') =~ /^ *0*([1-9a-f][0-9a-f]*)-\S+ .*acpi-evt/m && $1 });
	$qmp->hmp(sprintf('o /h 0x%x 0x100', hex($base) + 2));
	return $qmp;
}

# Presses a key whenever the console asks for it, until that says something. It may be too late on a busy machine: then the firmware
# begins again.
sub keys_until {
	my ($s, $key, $asks, $what) = @_;
	my $qmp = $s->qmp;
	my ($pressed, $reset) = (0, 0);
	wait_until("console $what", sub {
		my $asked = () = $s->console =~ /$asks/g;
		my $missed = () = $s->console =~ /No bootable device/g;
		$qmp->hmp("sendkey $key") if $asked > $pressed;
		$qmp->hmp('system_reset') if $missed > $reset;
		($pressed, $reset) = ($asked, $missed);
		return $s->console =~ $what;
	});
}

# ---- what stops the guest once it was pressed ----

sub is_paused {
	my ($s) = @_;
	my $qmp = $s->qmp;
	$qmp->command('stop');
	return $qmp;
}

# A client of gdb's protocol stops the guest as it connects.
sub is_debugged {
	my ($s) = @_;
	my $gdb = IO::Socket::UNIX->new(Peer => "$work/gdb") or die "gdb: $!";
	my $qmp = $s->qmp;
	wait_until('the guest stands', sub { $qmp->status ne 'running' });
	return $gdb;
}

# Not while powerdown has its time, which would wake it.
sub falls_asleep {
	my ($s) = @_;
	$s->wait_log(qr/powerdown 1s is over/);
	$s->open_gate;
	return;
}

my @gdb = ('-chardev', "socket,id=gdb,path=$work/gdb,server=on,wait=off", '-gdb', 'chardev:gdb');
my ($cli, $sti, $hlt) = ("\xfa", "\xfb", "\xf4\xeb\xfd");
my @two = (args => ['-smp', 2]);
my $ovmf = (grep { -e } map { "/usr/share/OVMF/$_.fd" } 'OVMF_CODE', 'OVMF_CODE_4M')[0];
need_that('there is UEFI firmware (t/setup check installs it)', sub { $ovmf });
my @uefi = ('-m', '256M', '-drive', "if=pflash,format=raw,readonly=on,file=$ovmf");
my @efi_stub = (@uefi, '-kernel', T::guest_files() . '/vmlinuz');

# How it starts; what its console must have said (or done) before TERM; for firmware, what listens; what happens after
# the press. It has halted: 86. If not, the rung takes its whole TIME.
my %rows = (
	'halt -f on a press' => { guest => 'halt', term => qr/guest: listening/, halted => 1, clean => 1 },
	'halt -f on a press, two CPUs' => { guest => 'halt', @two, term => qr/guest: listening/, halted => 1, clean => 1 },
	'halt -f on a press, pc' => { guest => 'halt', machine => 'pc', term => qr/guest: listening/, halted => 1, clean => 1 },
	'halt -f long before' => { guest => 'selfhalt', term => qr/guest: down/, halted => 1, clean => 1 },
	'halt -f, a CPU that was never started' => { guest => 'halt', @two, append => 'maxcpus=1', term => qr/guest: listening/, halted => 1, clean => 1 },
	'a CPU that was never started' => { guest => 'ignore', @two, append => 'maxcpus=1', term => qr/guest: listening/ },
	'offline CPUs' => { guest => 'offline', args => ['-smp', 3], term => qr/guest: listening/, },
	'a guest that works' => { guest => 'ignore', @two, term => qr/guest: listening/ },
	'S3' => { guest => 's3-on-press', machine => 'pc', gate => 1, @two, term => qr/guest: listening/, then => \&falls_asleep, status => 80, slept => 1,
		options => ['--press-interval', 0, '-o', "TERM=powerdown 1s, run:$later 6s, quit 10s, kill"] },
	'cli; hlt' => { firmware => sub { sector($cli . $hlt) }, term => qr/@/, halted => 1 },
	'cli; hlt, a CPU that was never started' => { firmware => sub { sector($cli . $hlt, '-smp', 2) }, term => qr/@/, halted => 1 },
	'sti; hlt' => { firmware => sub { sector($sti . $hlt) }, term => qr/@/ },
	'sti; hlt, a CPU that was never started' => { firmware => sub { sector($sti . $hlt, '-smp', 2) }, term => qr/@/ },
	'a loop' => { firmware => sub { sector("$sti\xeb\xfe") }, term => qr/@/ },
	'a loop with interrupts off' => { firmware => sub { sector("$cli\xeb\xfe") }, term => qr/@/ },
	'a boot loader that waits for a key' => { firmware => sub { sector("\xb4\x00\xcd\x16\xeb\xfa") }, term => qr/@/ },	# int 16h
	'firmware that waits for a key' => {
		firmware => sub { firmware('-machine', 'pc,graphics=off', '-boot', 'menu=on,splash-time=60000') }, term => qr/Press ESC for boot menu/ },
	"firmware's boot menu" => {
		firmware => sub { firmware('-machine', 'q35,graphics=off', '-boot', 'menu=on,splash-time=60000', '-device', 'virtio-net-pci') },
		term => sub { keys_until($_[0], 'esc', qr/Press ESC/, qr/Select boot device/) } },
	'firmware without anything to boot' => { firmware => sub { firmware('-machine', 'pc,graphics=off') }, term => qr/No bootable device/ },
	"iPXE's prompt" => {
		firmware => sub { firmware('-machine', 'pc,graphics=off', '-device', 'virtio-net-pci,netdev=n', '-netdev', 'user,id=n,restrict=on') },
		term => sub { keys_until($_[0], 'ctrl-b', qr/Ctrl-B for the iPXE/, qr/iPXE> /) } },
	'halt -f on a press, UEFI' => { guest => 'halt', args => \@efi_stub, term => qr/guest: listening/, halted => 1, clean => 1 },
	'a guest that works, UEFI' => { guest => 'ignore', args => [@efi_stub, '-smp', 2], term => qr/guest: listening/ },
	'UEFI firmware that waits for a key' => { firmware => sub { firmware('-machine', 'q35', @uefi) }, term => qr/Shell> |Press any key to|No bootable option/ },
	'paused' => { firmware => sub { sector($cli . $hlt) }, term => qr/@/, then => \&is_paused },
	'in the debugger' => { firmware => sub { sector($cli . $hlt, @gdb) }, term => qr/@/, then => \&is_debugged },
);

sub start {
	my ($what) = @_;
	my $row = $rows{$what};
	$row->{options} ||= \@impatient;
	$row->{vm} = $row->{firmware} ? $row->{firmware}->() : supervise(%$row);
}

sub stop {
	my ($row) = @_;
	my $vm = $row->{vm};
	ref $row->{term} eq 'CODE' ? $row->{term}->($vm) : $vm->wait_console($row->{term});
	let_listen($vm) if $row->{firmware};
	$vm->signal('TERM');
	$vm->wait_log(qr/button pressed/);
	$row->{kept} = $row->{then}->($vm) if $row->{then};
}

sub check {
	my ($what) = @_;
	my $row = $rows{$what};
	my $vm = $row->{vm};
	my $last = $row->{slept} ? qr/TERM: powerdown \S+, run [6-9]\.\ds, quit/ : qr/TERM: powerdown [5-9]\.\ds, quit/;
	if ($row->{halted}) {
		$vm->ends_with(86, qr/ended: the guest halted and did not power itself off \(status 86\); TERM: powerdown [2-4]\.\ds, quit/, $what);
	} else {
		$vm->ends_with(80, qr/the guest was not shut down: quit \(status 80\); $last/, $what);
		unlike($vm->log, qr/has halted/, "$what: not mistaken");
	}
	like($vm->console, qr/suspending(?!.*awake)/s, "$what: it slept to the end") if $row->{slept};
	ok(disk_is_clean($vm->{disk}), "$what: file system clean") if $row->{clean};
}

my @todo = sort keys %rows;
while (my @batch = splice(@todo, 0, 8)) {
	start($_) for @batch;
	stop($rows{$_}) for @batch;
	check($_) for @batch;
}
like($rows{'a loop with interrupts off'}{vm}->log, qr/not serving interrupts/, 'a guest that hangs: that is said');

done_testing;
