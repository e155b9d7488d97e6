#!/usr/bin/perl
# QEMU's own options and other users of its monitor: what they mean to a stop and to the exit status.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'nice');

my $listens = qr/guest: listening/;
my $off = qr/the guest powered itself off \(status 0\)/;
my $quit = qr/the guest was not shut down: quit \(status 80\)$/;
my $by_term = qr{$off; TERM: powerdown [\d.]+s$};

sub term { $_[0]->signal('TERM') }

# Each row: QEMU's options, what is done once the guest listens, how it must end, whether the disk is clean then.
my @rows = (
	{ what => '-no-reboot, TERM', args => ['-no-reboot'], do => \&term, status => 0, last => $by_term, clean => 1 },
	{ what => '-no-shutdown, TERM', args => ['-no-shutdown'], do => \&term, status => 0, last => $by_term, clean => 1 },
	{ what => '-no-reboot -no-shutdown, TERM', args => ['-no-reboot', '-no-shutdown'], do => \&term,
	  status => 0, last => $by_term, clean => 1 },
	{ what => '-action reboot=shutdown,shutdown=pause, TERM', args => ['-action', 'reboot=shutdown,shutdown=pause'],
	  do => \&term, status => 0, last => $by_term, clean => 1 },
	{ what => '-action reboot=shutdown', args => ['-action', 'reboot=shutdown'], guest => 'reboot', do => sub {
		my ($vm) = @_;
		$vm->qmp->command('system_powerdown');
	  }, status => 84, last => qr/asked for a reboot and QEMU ended instead \(status 84\)$/, clean => 1 },
	{ what => '-no-shutdown, guest off, quit', args => ['-no-shutdown'], do => sub {
		my ($vm) = @_;
		my $qmp = $vm->qmp;
		$qmp->command('system_powerdown');
		$qmp->wait_event('STOP');
		is($qmp->status, 'shutdown', '-no-shutdown: QEMU stays when the guest is off');
		$qmp->command('quit');
	  }, status => 0, last => qr/$off$/, clean => 1 },
	{ what => 'quit through the public socket', do => sub { $_[0]->qmp->command('quit') },
	  status => 80, last => $quit, clean => 0 },
	{ what => 'system_powerdown through the public socket', do => sub { $_[0]->qmp->command('system_powerdown') },
	  status => 0, last => qr/$off$/, clean => 1 },
	{ what => 'system_reset through the public socket', do => sub {
		my ($vm) = @_;
		$vm->qmp->command('system_reset');
		$vm->wait_console(qr/$listens.*$listens/s);
		$vm->signal('TERM');
	  }, status => 0, last => $by_term, clean => 1 },
	{ what => 'a client that hogs the public socket', do => sub {
		my ($vm) = @_;
		$vm->{hog} = IO::Socket::UNIX->new(Peer => $vm->dir . '/qmp') or die "qmp: $!";
		syswrite($vm->{hog}, '{"execute": "qmp_capab');
		$vm->signal('TERM');
	  }, status => 0, last => $by_term, clean => 1 },
	{ what => 'QEMU is killed', do => sub { kill('KILL', $_[0]->qemu) },
	  status => 83, last => qr/QEMU died of SIGKILL \(status 83\)$/, clean => 0 },
	{ what => 'a wrapper that executes QEMU', wrapper => ['nice', '-n', '1'], do => sub {
		my ($vm) = @_;
		like(slurp('/proc/' . $vm->qemu . '/cmdline'), qr/^qemu-system/, 'a wrapper: vm.lock has the pid of QEMU');
		$vm->signal('TERM');
	  }, status => 0, last => $by_term, clean => 1 },
);

sub start {
	my ($row) = @_;
	my $disk = make_disk();
	my $console = "$disk.console";
	my @qemu = guest_command($row->{guest} || 'normal', disk => $disk, console => $console, args => $row->{args});
	my $vm = supervise(command => [@{ $row->{wrapper} || [] }, @qemu]);
	@$vm{qw(disk console)} = ($disk, $console);
	return { %$row, vm => $vm };
}

while (my @batch = map { start($_) } splice(@rows, 0, 6)) {
	for my $row (@batch) {
		$row->{vm}->wait_console($listens);
		$row->{do}->($row->{vm});
	}
	for my $row (@batch) {
		my ($vm, $what) = @$row{qw(vm what)};
		$vm->ends_with($row->{status}, $row->{last}, $what);
		is(disk_is_clean($vm->{disk}) ? 1 : 0, $row->{clean}, "$what: file system " . ($row->{clean} ? 'clean' : 'cut off'));
	}
}

done_testing;
