#!/usr/bin/perl
# --ready listening: reported when the guest listens to its power button and not before; where nobody can
# tell, when it is started, and the log says so.
use strict;
use warnings;
use Fcntl qw(F_SETFD);
use FindBin;
use IO::Socket::UNIX;
use lib $FindBin::Bin;
use Socket qw(SOCK_DGRAM);
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

# A supervisor that reports to systemd's socket and to a descriptor at once.
sub awaiting {
	my ($mode, %o) = @_;
	pipe(my $read, my $write) or die "pipe: $!";
	fcntl($write, F_SETFD, 0);
	my $path = "$work/notify.$mode." . ($o{machine} || 'q35');
	my $socket = IO::Socket::UNIX->new(Local => $path, Type => SOCK_DGRAM) or die "notify: $!";
	my $vm = supervise(guest => $mode, %o, env => { NOTIFY_SOCKET => $path },
		options => ['--ready', 'listening', '--notify-fd', fileno($write), @{ $o{options} || [] }]);
	close($write);
	$read->blocking(0);
	$socket->blocking(0);
	@$vm{qw(fd socket told)} = ($read, $socket, '');
	return $vm;
}

# All that systemd was told until now.
sub told {
	my ($vm) = @_;
	while (defined $vm->{socket}->recv(my $datagram, 4096)) {
		$vm->{told} .= "$datagram\n";
	}
	return $vm->{told};
}

sub is_ready {
	my ($vm, $what) = @_;
	ok(wait_until('READY=1', sub { told($vm) =~ /^READY=1$/m }), "$what: READY=1");
	is(wait_until('newline', sub { sysread($vm->{fd}, my $bytes, 10); $bytes }), "\n", "$what: newline on the descriptor");
}

sub is_not_ready {
	my ($vm, $what) = @_;
	unlike(told($vm), qr/READY=1/, "$what: no READY=1");
	ok(!sysread($vm->{fd}, my $bytes, 10), "$what: nothing on the descriptor");
}

my %vm = (
	late => awaiting('late', gate => 1),
	deaf => awaiting('deaf', options => ['--on', 'TERM=quit, kill']),
	acpi_off => awaiting('deaf', machine => 'pc,acpi=off', options => ['--on', 'TERM=powerdown forever, quit, kill']),
);

is_ready($vm{acpi_off}, 'pc,acpi=off');
like($vm{acpi_off}->log, qr/this machine has no power button; ready, as it is started\n/, 'no button: the log says so');
$vm{acpi_off}->signal('TERM');
$vm{acpi_off}->ends_with(80, qr/quit \(status 80\); TERM: powerdown \S+, quit/, 'no button: next rung at once');

$vm{late}->wait_console(qr/guest: up/);
is_not_ready($vm{late}, 'late, before');
$vm{late}->open_gate;
is_ready($vm{late}, 'late');
$vm{late}->wait_console(qr/guest: listening/);
$vm{late}->signal('TERM');
$vm{late}->ends_with(0, qr/the guest powered itself off/, 'late');
like($vm{late}->log, qr/QEMU runs.*the guest listens to its power button\n.*TERM/s, 'late: the log tells when');

# By now a guest that is not deaf would have been ready for long.
$vm{deaf}->wait_console(qr/guest: up/);
is_not_ready($vm{deaf}, 'deaf');
$vm{deaf}->signal('TERM');
$vm{deaf}->ends_with(80, qr/quit \(status 80\)/, 'deaf');
is_not_ready($vm{deaf}, 'deaf, at its end');

done_testing;
