#!/usr/bin/perl
# TERM in every run state that a real QEMU can be brought to: what powerdown does first, and whether it helps.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $off = qr{the guest powered itself off \(status 0\); TERM: powerdown [\d.]+s$};
my $nobody = 'TERM: powerdown 0\.0s, agent-shutdown 0\.0s, quit';
my @impatient = ('--press-interval', '500ms', '--on', 'TERM=powerdown 3s, agent-shutdown 30s, quit 10s, kill');

# A disk that fails, once or from then on, when filled() has made it do so.
sub failing_disk {
	my ($once) = @_;
	my $disk = make_disk();
	my $config = spew("$disk.blkdebug", <<"END");
[set-state]
event = "pwritev_rmw_tail"
state = "1"
new_state = "2"

[set-state]
event = "write_aio"
state = "2"
new_state = "3"

[inject-error]
event = "write_aio"
state = "3"
errno = "28"
once = "$once"
END
	my $drive = "driver=raw,file.driver=blkdebug,file.align=512,file.config=$config,"
		. "file.image.driver=file,file.image.filename=$disk,werror=stop,if=virtio";
	truncate($disk, 17 << 20) or die "$disk: $!";
	return (disk => undef, image => $disk, args => ['-drive', $drive], reach => \&filled);
}

# A write that the guest would never do, behind the file system's end, is the sign for the disk to fail.
sub filled {
	my $qmp = stopped(@_);
	$qmp->hmp('qemu-io virtio0 "write 16M 100"');
	$qmp->command('cont');
}

sub listening {
	my ($vm) = @_;
	$vm->wait_console(qr/guest: listening/);
	return $vm->qmp;
}

sub stopped {
	my $qmp = listening(@_);
	$qmp->command('stop');
	return $qmp;
}

sub stopped_early {
	my ($vm) = @_;
	$vm->qmp->command('stop');
}

# A step by gdb's remote protocol ends in run state debug.
sub stepped {
	my ($vm) = @_;
	listening($vm);
	my $gdb = IO::Socket::UNIX->new(Peer => "$work/gdb") or die "gdb: $!";
	syswrite($gdb, '$s#73');
	my $answer = '';
	wait_until('a step', sub { defined(sysread($gdb, $answer, 100)) && $answer =~ /\$T05/ });
	return $gdb;
}

sub pressed {
	my ($vm) = @_;
	listening($vm)->command('system_powerdown');
}

sub migrated {
	my ($vm) = @_;
	listening($vm)->command('migrate', { uri => "exec:cat >$work/migrated" });
}

# The guest stands still between the last byte and the hand-over, until it is told to go on.
sub migrating {
	my ($vm) = @_;
	my $qmp = listening($vm);
	$qmp->command('migrate-set-capabilities',
		{ capabilities => [{ capability => 'pause-before-switchover', state => JSON::PP::true }] });
	$qmp->command('migrate', { uri => "exec:cat >$work/migrating" });
	return $qmp;
}

# Each row (S3 on pc, since q35's firmware loses the power button on the way back): the run state, how it is reached, QEMU's options, how a TERM then ends, what the log must say.
my @rows = (
	{ state => 'paused', what => 'paused while it boots', guest => 'late', gate => 1, reach => \&stopped_early,
	  status => 0, last => $off, clean => 1, log => qr/run state paused: cont\n.*waiting for it.*button pressed\n/s },
	{ state => 'paused', reach => \&stopped, status => 0, last => $off, clean => 1,
	  log => qr/run state paused: cont\n.*button pressed\n/ },
	{ state => 'suspended', guest => 's3', machine => 'pc', status => 0, last => $off, clean => 1,
	  log => qr/run state suspended: system_wakeup\n.*button pressed\n/s },
	{ state => 'io-error', failing_disk('on'), status => 0, last => $off, clean => 1,
	  log => qr/QEMU has stopped the guest: io-error: virtio0: no space left on device; .*\n(?s:.*)run state io-error: cont\n.*button pressed\n/ },
	{ state => 'io-error', what => 'io-error for good', failing_disk('off'), options => \@impatient,
	  status => 80, last => qr/quit \(status 80\); TERM: powerdown/, clean => 0,
	  log => qr/(run state io-error: cont\n.*){2}powerdown 3s is over/s },
	{ state => 'watchdog', guest => 'watchdog', status => 0, last => $off, clean => 1,
	  args => ['-device', 'i6300esb', '-action', 'watchdog=pause'],
	  log => qr/run state watchdog: cont\n.*button pressed\n/ },
	{ state => 'debug', reach => \&stepped, status => 0, last => $off, clean => 1,
	  args => ['-chardev', "socket,id=gdb,path=$work/gdb,server=on,wait=off", '-gdb', 'chardev:gdb'],
	  log => qr/run state debug: cont\n.*button pressed\n/ },
	{ state => 'guest-panicked', guest => 'panic', status => 82, clean => 0,
	  args => ['-device', 'pvpanic-pci', '-action', 'panic=pause'],
	  last => qr/the guest panicked \(status 82\); $nobody/, log => qr/powerdown: the guest has panicked\n/ },
	{ state => 'shutdown', reach => \&pressed, args => ['-no-shutdown'], status => 0, clean => 1,
	  last => qr/powered itself off \(status 0\); $nobody/, log => qr/powerdown: the guest is down already\n/ },
	{ state => 'prelaunch', args => ['-S'], status => 0, clean => 1,
	  last => qr/no guest was running \(status 0\); $nobody/, log => qr/no guest is running \(prelaunch\)/ },
	{ state => 'inmigrate', args => ['-incoming', 'defer'], status => 0, clean => 1,
	  last => qr/no guest was running \(status 0\); $nobody/, log => qr/no guest is running \(inmigrate\)/ },
	{ state => 'prelaunch', what => 'preconfig', args => ['--preconfig'], status => 0, clean => 1,
	  last => qr/no guest was running \(status 0\); $nobody/, log => qr/no guest is running \(prelaunch\)/ },
	{ state => 'postmigrate', reach => \&migrated, status => 0, clean => 0,
	  last => qr/saved or migrated away \(status 0\); $nobody/, log => qr/the guest has migrated away/ },
	{ state => 'finish-migrate', reach => \&migrating, status => 0, last => $off, clean => 1,
	  log => qr/TERM from.*\n.*a migration is under way.*\n.*waiting for it.*\n.*button pressed\n/, then => 'migrate_cancel' },
);

while (my @batch = splice(@rows, 0, 7)) {
	for my $row (@batch) {
		$row->{what} ||= $row->{state};
		$row->{vm} = supervise(guest => 'normal', %$row);
	}
	for my $row (@batch) {
		my $vm = $row->{vm};
		$row->{kept} = $row->{reach}->($vm) if $row->{reach};
		wait_until("run state $row->{state} " . $vm->log, sub { ($vm->state->{'run-state'} // '') eq $row->{state} });
		$vm->signal('TERM');
		next if !$row->{then} && !$row->{gate};
		$vm->wait_log(qr/waiting for it/);
		$row->{kept}->command($row->{then}) if $row->{then};
		$vm->open_gate if $row->{gate};
	}
	for my $row (@batch) {
		my ($vm, $what) = @$row{qw(vm what)};
		$vm->ends_with($row->{status}, $row->{last}, $what);
		my $log = join('', grep { /^qemu-supervise: / } split(/^/, $vm->log)); # without what QEMU itself has to say
		like($log, $row->{log}, "$what: the log tells what was done") or diag($vm->log);
		is(disk_is_clean($vm->{disk} || $row->{image}) ? 1 : 0, $row->{clean},
			"$what: file system " . ($row->{clean} ? 'clean' : 'cut off'));
	}
}

done_testing;
