# make bench: what a stop loses while the guest boots. TERM at 24 moments of it: how much later the guest is off than it could
# be at the earliest, which is once its user space serves the button, and after its own shutdown.
package Boot;

use strict;
use warnings;
use Exporter qw(import);
use T;
use Table;
use Time::HiRes qw(sleep);

our @EXPORT_OK = qw(bench_boot);

my $moments = $ENV{BENCH_MOMENTS} || 24;

# When the console says it first, in ms.
sub said {
	my ($s, $what) = @_;
	wait_until("console $what", sub { sleep 0.001; $s->console =~ $what || $s->ended });
	return now();
}

sub small {
	my ($machine) = @_;
	return supervise(guest => 'normal', machine => $machine);
}

# TERM ms after the start: how long after user space was ready, or after TERM, the guest was off.
sub small_off {
	my ($machine, $ms) = @_;
	my $s = small($machine);
	wait_until('QEMU', sub { $s->log =~ /QEMU runs/ });
	my $began = now();
	sleep($ms / 1000);
	my $term = now();
	$s->signal('TERM');
	my $ready = said($s, qr/guest: listening/);
	die $s->log if $s->end != 0;
	return now() - ($ready > $term ? $ready : $term);
}

# How long until it is ready, and how long its own shutdown takes, once it is.
sub small_times {
	my ($machine) = @_;
	my (@ready, @off);
	for (1 .. 5) {
		my $s = small($machine);
		wait_until('QEMU', sub { $s->log =~ /QEMU runs/ });
		my $began = now();
		push @ready, said($s, qr/guest: listening/) - $began;
		sleep 0.3;
		my $term = now();
		$s->signal('TERM');
		$s->end;
		push @off, now() - $term;
	}
	return (median(@ready), median(@off));
}

sub small_late {
	my ($machine) = @_;
	progress("boot of the small guest on $machine");
	my ($ready, $off) = small_times($machine);
	my @late;
	for my $i (1 .. $moments) {
		progress("TERM while the small guest boots on $machine, %d of %d", $i, $moments);
		push @late, small_off($machine, $ready * ($i - 0.5) / $moments) - $off;
	}
	return @late;
}

# ---- a Debian guest: its own shutdown takes now this, now that long, so what counts is when logind obeys ----

sub debian {
	my ($n) = @_;
	my $dir = "$top/build/debian";
	my ($disk, $console) = ("$work/debian.$n.qcow2", "$work/debian.$n.console");
	run_command('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', "$dir/disk.raw", $disk);
	my $s = supervise(command => ['qemu-system-x86_64', '-machine', 'q35', '-accel', 'tcg', '-m', '512M', '-nodefaults', '-no-user-config',
			'-display', 'none', '-kernel', "$dir/vmlinuz", '-initrd', "$dir/initrd", '-append', 'root=/dev/vda rw console=ttyS0 quiet '
				. 'delay=0 systemd.mask=acpid.service systemd.mask=acpid.socket systemd.mask=acpid.path '
				. 'systemd.journald.forward_to_console=1 systemd.journald.max_level_console=info',
			'-serial', "file:$console", '-drive', "file=$disk,if=virtio"]);
	$s->{console} = $console;
	return $s;
}

sub debian_off {
	my ($n, $ms) = @_;
	my $s = debian($n);
	wait_until('QEMU', sub { $s->log =~ /QEMU runs/ });
	sleep($ms / 1000);
	my $term = now();
	$s->signal('TERM');
	my $ready = said($s, qr/Watching system buttons/);
	my $obeys = said($s, qr/Power key pressed/);
	die $s->log if $s->end != 0;
	unlink "$work/debian.$n.qcow2";
	return $obeys - ($ready > $term ? $ready : $term);
}

sub debian_late {
	my $s = debian(0);
	my $began = now();
	my $ready = said($s, qr/Watching system buttons/) - $began;
	$s->signal('QUIT');
	$s->end;
	my @late;
	for my $i (1 .. $moments) {
		progress('TERM while a Debian guest boots, %d of %d', $i, $moments);
		push @late, debian_off($i, $ready * ($i - 0.5) / $moments);
	}
	return @late;
}

sub rows {
	my ($what, @late) = @_;
	my ($worst) = sort { $b <=> $a } @late;
	my $median = median(@late);
	row("$what, ms", $median, undef, '', 'median at most 600 ms', $median <= 600);
	row("$what: worst, ms", $worst, undef, '', 'at most 1300 ms', $worst <= 1300);
}

sub bench_boot {
	rows("off late, boots, $_", small_late($_)) for qw(q35 pc);
	rows('off late, boots, Debian', debian_late()) if -e "$top/build/debian/stamp";
}

1;
