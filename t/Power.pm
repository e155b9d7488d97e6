# A host whose power fails, as far as VMs are concerned: what t/nut.t and t/apcupsd.t share. Its VMs are real guests under
# init/none; examples/ups/ups-vms finds vmconf in PATH and keeps its state in $work.
package Power;

use strict;
use warnings;
use Exporter qw(import);
use Time::HiRes ();
use T;

our @EXPORT = qw($ups_vms need_power make_vm wait_listening shutdown_words host_down is_clean_then log_of ended ups_log);
our $ups_vms = "$top/examples/ups/ups-vms";

mkdir("$work/$_") for qw(bin config state);
symlink($ENV{T_VMCONF} || "$top/vmconf", "$work/bin/vmconf");
$ENV{PATH} = "$work/bin:$ENV{PATH}";
$ENV{QEMU_SUPERVISE_INIT} = "$top/init/none";
$ENV{UPS_VMS_STATE} = "$work/ups-vms";

sub need_power {
	need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'apt-get', 'logger', 'flock', 'pgrep');
	need_that('we are root, as what watches a UPS is', sub { $> == 0 });
}

sub make_vm {
	my ($name, $order, $mode, %o) = @_;
	my $definition = T::guest_definition($mode, %o, disk => make_disk("$work/$name.disk"), console => "$work/$name.console");
	T::define($name, { %$definition, order => $order, agent => JSON::PP::false, initrd => guest_files() . '/initrd' });
}

sub wait_listening {
	my (@names) = @_;
	wait_until("@names", sub { !grep { slurp("$work/$_.console") !~ /guest: listening/ } @names });
}

# Two commands for whoever shuts the host down: ups-vms shutdown, whose status and words are kept, and the host's own,
# which looks at what the disks are like at that moment, and whether a QEMU is left.
sub shutdown_words {
	my $before = spew("$work/bin/before", qq(#!/bin/sh\n"$ups_vms" shutdown >"$work/shutdown.out" 2>&1\necho \$? >"$work/shutdown.status"\n));
	my $shutdown = spew("$work/bin/shutdown", qq(#!/bin/sh\nfor d in "$work"/*.disk; do dumpe2fs -h "\$d" >"\$d.then" 2>&1; done\n)
		. qq(pgrep -f "$work/[a-z]*.disk" >"$work/left"\necho "\$*" >"$work/down.new"; mv "$work/down.new" "$work/down"\n));
	chmod(0755, $before, $shutdown);
	return ($before, $shutdown);
}

# The words that the host's own command was called with, once it was.
sub host_down {
	wait_until(sub { 'the shutdown: ' . ups_log() }, sub { -e "$work/down" });
	return slurp("$work/down");
}

sub is_clean_then { return slurp("$work/$_[0].disk.then") !~ /needs_recovery/ && slurp("$work/$_[0].disk.then") =~ /Filesystem state:\s+clean/ }

sub log_of { return slurp("$work/state/$_[0]/log") }

# When its supervisor had seen it to the end.
sub ended { return (Time::HiRes::stat("$work/state/$_[0]/history.jsonl"))[9] }

sub ups_log { return join '', map { slurp($_) } glob("$work/*/*.log"), glob("$work/shutdown.*"), "$work/ups-vms/log" }

1;
