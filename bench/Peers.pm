# make bench-peers: what is measured of each peer, and the table.
package Peers;

use strict;
use warnings;
use Exporter qw(import);
use JSON::PP ();
use List::Util qw(sum max);
use POSIX ();
use T;
use Table;
use Peer;
use Time::HiRes qw(sleep);

our @EXPORT = qw(runtime_on_tmpfs peers print_peers bench_define bench_start bench_button bench_boot bench_stop bench_together
	bench_list bench_scale print_rows);
my $bound = 60000;	# for a guest to go down, ms
my $boots = 180000;	# to boot on a busy machine
my $together = 10;
my $many = $ENV{BENCH_MANY} || 500;
my (@rows, @names, @without);

sub runtime_on_tmpfs {
	$ENV{QEMU_SUPERVISE_INIT} = "$top/init/none";
	$ENV{QEMU_SUPERVISE} = "$top/qemu-supervise";
	for my $dir (grep { $_ && -w } '/run', '/dev/shm') {
		next if `stat -f -c %T '$dir'` ne "tmpfs\n";
		$ENV{QEMU_SUPERVISE_RUNTIME_DIR} = File::Temp::tempdir('qs-XXXXXXXX', DIR => $dir, CLEANUP => 1);
		return 'a tmpfs';
	}
	return 'no tmpfs';
}

sub peers {
	my @there;
	adopt_orphans(0);	# as T.pm does: libvirt waits until somebody has reaped its QEMUs
	for my $class (qw(Ours Libvirt Vmspawn Bare)) {
		my $peer = "Peer::$class"->new;
		progress('%s', $peer->name);
		push @names, $peer->name;
		my $why = $peer->why_not;
		push @without, $peer->name . ": $why" if $why;
		push @there, $peer if !$why;
	}
	return @there;
}

sub print_peers { printf STDERR "beside: %s\n", join(', ', map { $_->name } @_[1 .. $#_]) if -t STDERR }

# what: in words; of: name of a peer => figure, or a text.
sub note_row {
	my ($what, %of) = @_;
	push @rows, [$what, \%of];
}

# Ends after the bound, and says so.
sub wait_for {
	my ($code, $most) = @_;
	my $until = now() + ($most || $bound);
	until ($code->()) {
		return 0 if now() > $until;
		sleep 0.002;
	}
	return 1;
}

sub measured(&) {
	my ($code) = @_;
	my $began = now();
	$code->();
	return now() - $began;
}

# Medians of each peer that can do that, in turns.
sub in_turns {
	my ($what, $can, $code, @peers) = @_;
	my (%took, %of);
	for my $round (1 .. $rounds) {
		for my $peer (grep { $_->can($can) } @peers) {
			progress('%s: %s, %d of %d', $what, $peer->name, $round, $rounds);
			push @{ $took{ $peer->name } }, $code->($peer, $round);
			$peer->kill_all;
		}
	}
	for my $name (keys %took) {
		my @figures = grep { defined } @{ $took{$name} };
		my $lost = @{ $took{$name} } - @figures;
		$of{$name} = @figures > $lost ? median(@figures) : "$lost of $rounds";
		push @without, "$what: $name: $lost of $rounds not after " . $bound / 1000 . ' s' if $lost;
	}
	note_row($what, %of);
}

sub bench_define { in_turns('define, ms', 'create', sub { my ($p, $n) = @_; measured { $p->create("new$n") } }, @_) }

sub bench_start {
	in_turns('start to running, ms', 'start_many', sub { my ($p) = @_; $p->define('vm', 'idle'); measured { $p->start('vm') } }, @_);
	in_turns('start to user space, ms', 'start', sub {
		my ($p) = @_;
		$p->define('vm', 'normal');
		my $took = measured { $p->start('vm'); wait_for(sub { $p->listens('vm') }, $boots) };
		return $p->listens('vm') ? $took : undef;
	}, @_);
}

sub up {
	my ($p, $mode, @names) = @_;
	$p->define($_, $mode) for @names;
	$p->can('start_many') ? $p->start_many(@names) : map { $p->start($_) } @names;
	wait_for(sub { !grep { !$p->listens($_) } @names }, $boots) or die $p->name . ": @names: no guest\n";
	$p->pid($_) for @names;
}

# Until the guest has it, as it says itself: what its kernel and its shell need is the same for all.
sub bench_button {
	in_turns('TERM to the guest\'s button, ms', 'press', sub {
		my ($p) = @_;
		up($p, 'ignore', 'vm');
		sleep 0.3;
		my $heard = 0;
		my $took = measured { $p->press('vm'); $heard = wait_for(sub { slurp($p->console('vm')) =~ /guest: press/ || $p->is_gone('vm') }) };
		return slurp($p->console('vm')) =~ /guest: press/ ? $took : undef;
	}, @_);
}

sub until_off {
	my ($p) = @_;
	my $off = 0;
	my $took = measured { $p->press('vm'); $off = wait_for(sub { $p->is_gone('vm') }) };
	return $off ? $took : undef;
}

# At other moments of the boot in each round: firmware, kernel, driver, user space.
sub bench_boot {
	in_turns('TERM to off while booting, ms', 'press', sub {
		my ($p, $round) = @_;
		$p->define('vm', 'normal');
		$p->start('vm');
		$p->pid('vm');
		sleep 0.5 * $round;
		return until_off($p);
	}, @_);
}

sub bench_stop { in_turns('TERM to off, ms', 'press', sub { my ($p) = @_; up($p, 'normal', 'vm'); until_off($p) }, @_) }

sub threads { return map { glob "/proc/$_/task/[0-9]*" } @_ }
sub switches { return sum(0, map { slurp("$_/status") =~ /ctxt_switches:\s+(\d+)/g } threads(@_)) }

# In ms. Of one with threads, some of which may have ended, only ticks of 10 ms are known.
sub processor {
	my $ms = 0;
	for my $pid (@_) {
		my @threads = threads($pid);
		my @fields = split ' ', slurp("/proc/$pid/stat") =~ s/.*\) //r;
		$ms += @threads > 1 ? 10 * ($fields[11] + $fields[12]) : (split ' ', slurp("/proc/$pid/schedstat") || 0)[0] / 1e6;
	}
	return $ms;
}

sub pss { return sum(0, map { slurp("/proc/$_/smaps_rollup") =~ /^Pss:\s+(\d+)/m } @_) }

# Ten guests: at once, and what their keepers need meanwhile.
sub bench_together {
	my (%start, %stop, %pss, %switches);
	my @vms = map { "vm$_" } 1 .. $together;
	for my $p (grep { $_->can('stop_many') } @_) {
		my $name = $p->name;
		progress('%d at once: %s', $together, $name);
		$p->define($_, 'normal') for @vms;
		$start{$name} = measured { $p->start_many(@vms) };
		wait_for(sub { !grep { !$p->listens($_) } @vms }, 4 * $boots) or die "$name: no guests\n";
		$p->pid($_) for @vms;
		sleep 3;
		if (my @daemons = $p->daemons(@vms)) {
			my $before = switches(@daemons);
			sleep 10;
			$switches{$name} = switches(@daemons) - $before;
			$pss{$name} = pss(@daemons) / $together;
		}
		$stop{$name} = measured { $p->stop_many(@vms) };
		$p->kill_all;
	}
	note_row("start $together at once to running, ms", %start);
	note_row("stop $together at once to off, ms", %stop);
	note_row("memory beside QEMU, of $together, kB per VM", %pss);
	note_row("wake-ups beside QEMU, of $together, in 10 s", %switches);
}

sub bench_list {
	my $count = $ENV{BENCH_LIST} || 1000;
	my %of;
	for my $p (grep { $_->can('list') } @_) {
		progress('list of %d: %s', $count, $p->name);
		my @vms = map { "vm$_" } 1 .. $count;
		$p->can('define_many') ? $p->define_many(@vms) : map { $p->define($_) } @vms;
		my @took = map { measured { $p->does($p->list) } } 1 .. $rounds;
		$of{ $p->name } = median(@took);
		$p->kill_all;
	}
	note_row("list of $count, ms", %of);
}

# ---- how much work many VMs are ----

# Those of supervisors are read when they have ended: for that they become our children.
sub adopt_orphans {
	my ($whether) = @_;
	my %number = (x86_64 => 157, aarch64 => 167);
	my $prctl = $number{ (POSIX::uname())[4] } or return;
	syscall($prctl, 36, $whether, 0, 0, 0);
}

# A command's processor time without that of its children, in ms.
sub processor_of {
	my (@command) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDOUT, '>', '/dev/null');
		exec @command;
	}
	sleep 0.005 until slurp("/proc/$pid/stat") =~ /\) Z/;
	my $ms = processor($pid);
	waitpid($pid, 0);
	die "@command: status $?\n" if $?;
	return $ms;
}

sub scale_ours {
	my ($ours, $what, $count, %more) = @_;
	my @vms = map { "vm$_" } 1 .. $count;
	for my $name (@vms) {
		$ours->define($name);
		my $vm = definition($name);
		T::define($name, { %$vm, machine => 'pc', %more });
	}
	my %ms;
	adopt_orphans(1);
	progress('%s: start', $what);
	$ms{start} = processor_of("$top/vmconf", 'start', '--all');
	my @supervisors = $ours->daemons(@vms);
	die "of $count VMs, " . @supervisors . " run\n" if @supervisors != $count;
	$ms{supervisors} = processor(@supervisors);
	$ms{list} = processor_of("$top/vmconf", 'list');
	progress('%s: stop', $what);
	$ms{stop} = processor_of("$top/vmconf", 'stop', '--all');
	$ms{end} = processor(@supervisors);
	waitpid($_, 0) for @supervisors;
	adopt_orphans(0);
	$ours->kill_all;
	return map { $_ => $ms{$_} / $count } keys %ms;
}

sub scale_libvirt {
	my ($libvirt, $count) = @_;
	my @vms = map { "vm$_" } 1 .. $count;
	progress('%d of libvirt', $count);
	$libvirt->define_many(@vms);
	my $before = processor($libvirt->daemons);
	$libvirt->start_many(@vms);
	my $started = processor($libvirt->daemons);
	$libvirt->batch(map { "destroy $_" } @vms);
	my $ended = processor($libvirt->daemons);
	$libvirt->kill_all;
	return (($started - $before) / $count, ($ended - $started) / $count);
}

sub bench_scale {
	my ($ours, @peers) = @_;
	my %ms = scale_ours($ours, "$many VMs", $many);
	my ($libvirt) = grep { $_->name eq 'libvirt' } @peers;
	my ($start, $stop) = $libvirt ? scale_libvirt($libvirt, 50) : ();
	note_row("$many VMs, processor ms per VM: list", ours => $ms{list});
	note_row('start: vmconf', ours => $ms{start});
	note_row('start: supervisor, daemon', ours => $ms{supervisors}, libvirt => $start);
	note_row('stop: vmconf', ours => $ms{stop});
	note_row('stop: supervisor, daemon', ours => $ms{end} - $ms{supervisors}, libvirt => $stop);
	my $slow = spew("$work/slow", qq(#!/bin/sh\nsleep 5\nexec qemu-system-x86_64 "\$@"\n));
	chmod(0755, $slow);
	my $some = POSIX::ceil($many / 5);
	%ms = scale_ours($ours, "$some slow VMs", $some, emulator => $slow, sandbox => JSON::PP::false,
		on => { TERM => 'qmp:query-status 5s, quit 10s, kill' });
	note_row("$some VMs that take 5 s more: start: vmconf", ours => $ms{start});
	note_row('stop: vmconf', ours => $ms{stop});
}

# ---- the table ----

sub figure {
	my ($value) = @_;
	return '-' if !defined $value;
	return $value if $value !~ /^[\d.]+(?:e-?\d+)?$/;
	return sprintf($value < 10 ? '%.2f' : '%d', $value);
}

sub print_rows {
	my ($with) = @_;
	my ($version) = `qemu-system-x86_64 --version` =~ /version ([\d.]+)/;
	my ($load) = split ' ', slurp('/proc/loadavg');
	progress();
	printf "Medians of %d rounds, in turns. QEMU %s with TCG, %s, %d CPUs, load %s.\n\n", $rounds, $version, $with, `nproc`, $load;
	printf "%-44s" . ' %10s' x @names . "  %s\n", 'what', @names, 'libvirt / ours';
	for (@rows) {
		my ($what, $of) = @$_;
		my ($ours, $libvirt) = @$of{qw(ours libvirt)};
		my $ratio = ($ours // '') =~ /^[\d.]+/ && $ours > 0 && ($libvirt // '') =~ /^[\d.]+(?:e-?\d+)?$/ ? sprintf('%.1f', $libvirt / $ours) : '-';
		printf "%-44s" . ' %10s' x @names . "  %s\n", $what, (map { figure($of->{$_}) } @names), $ratio;
	}
	print "\nNot had:\n", map { "  $_\n" } @without if @without;
}

1;
