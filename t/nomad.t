#!/usr/bin/perl
# examples/nomad, without Nomad, of which there is no package: its keys are known to the documentation of job specifications
# and clients, its times suffice for the ladder, and the task works as raw_exec would run and stop it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need(qw(qemu-system-x86_64 qemu-img mke2fs dumpe2fs));

# Of each block (with its label as *): attributes, and blocks in it. Not all that there are.
my %known = (
	'' => 'job plugin client', job => 'type constraint group datacenters region meta update reschedule', constraint => 'attribute operator value',
	group => 'count restart task reschedule disconnect volume network', restart => 'attempts interval delay mode',
	task => 'driver config kill_signal kill_timeout template resources user env meta restart service leader constraint volume_mount',
	config => 'command args enabled', template => 'destination change_mode change_signal data source perms uid gid left_delimiter right_delimiter',
	resources => 'cpu cores memory memory_max', client => 'enabled max_kill_timeout servers', plugin => 'config'
);

sub is_known {
	my ($file, $block, $key) = @_;
	ok((grep { $_ eq $key } split ' ', $known{ $block->{_name} }), "$file: $block->{_name} knows $key");
}

# A file of HCL as a tree: a block is a hash, its label, if it has one, _label. Only what these files use.
sub parse {
	my ($file) = @_;
	my @lines = split /\n/, slurp($file);
	my @open = ({ _name => '' });
	while (defined(my $line = shift @lines)) {
		next if $line =~ /^\s*(#.*)?$/;
		if ($line =~ /^\s*\}$/) {
			pop @open;
		} elsif ($line =~ /^\s*(\w+)(?: "(\w+)")? \{$/) {
			my $block = { _name => $1, _label => $2 };
			is_known($file, $open[-1], $1);
			$open[-1]{ $block->{_name} } = $block;
			push @open, $block;
		} elsif ($line =~ /^\s*(\w+)\s* = (.*)$/) {
			my ($key, $value) = ($1, $2);
			is_known($file, $open[-1], $key);
			if ($value =~ /^<<(\w+)$/) {
				$value = '';
				$value .= "$line\n" while ($line = shift @lines) ne $1;
			} else {
				$value = JSON::PP->new->allow_nonref->decode($value);
			}
			$open[-1]{$key} = $value;
		} else {
			die "$file: what is this? $line\n";
		}
	}
	is(scalar @open, 1, "$file: every block is closed");
	return $open[0];
}

sub seconds { return $_[0] =~ /^(\d+)s$/ ? $1 : 0 }

my $job = parse("$top/examples/nomad/vm.nomad.hcl")->{job};
my $client = parse("$top/examples/nomad/client.hcl");
my $task = $job->{group}{task};
is($task->{driver}, 'raw_exec', 'the driver');
is($client->{plugin}{_label} . ' ' . $client->{plugin}{config}{enabled}, 'raw_exec 1', 'which the client allows');
is($task->{kill_signal}, 'SIGTERM', 'a stop is TERM; its default is INT');
cmp_ok(seconds($task->{kill_timeout}), '>', T::longest_stop(), 'and KILL comes after the ladder');
cmp_ok(seconds($client->{client}{max_kill_timeout}), '>=', seconds($task->{kill_timeout}), 'as the client allows');

# ---- the task ----
my ($local, $config) = ("$work/task/local", $ENV{QEMU_SUPERVISE_CONFIG_DIR});
mkdir $_ for "$work/task", $local;
chmod 0777, $local;	# as Nomad's is
mkdir $_ for $ENV{QEMU_SUPERVISE_STATE_DIR}, "$ENV{QEMU_SUPERVISE_STATE_DIR}/web";
my ($disk, $root) = (make_disk(), "$ENV{QEMU_SUPERVISE_STATE_DIR}/web/root.qcow2");
is((run_command('qemu-img', 'convert', '-O', 'qcow2', $disk, $root))[0], 0, 'its disk');
my $definition = JSON::PP::decode_json($task->{template}{data});
my $guest = T::guest_definition('normal', disk => $disk, console => "$work/console");
$definition->{$_} = $guest->{$_} for qw(accel machine memory kernel initrd append console agent args); # which boots in two seconds
spew("$work/task/$task->{template}{destination}", JSON::PP::encode_json($definition));
my @words = map { s{/etc/qemu-supervise/}{$config/}gr =~ s{/usr/local/bin/qemu-supervise}{$ENV{T_SUPERVISE} || "$top/qemu-supervise"}er }
	$task->{config}{command}, @{ $task->{config}{args} };
my $vm = supervisor(vm => 'web');
@$vm{qw(command console)} = (\@words, "$work/console");
T::launch($vm, setup => sub { chdir "$work/task" or die });
$vm->wait_console(qr/guest: listening/);
$vm->signal(substr($task->{kill_signal}, 3));
$vm->ends_with(0, qr/the guest powered itself off/, 'it is stopped');
is((run_command('qemu-img', 'convert', '-O', 'raw', $root, $disk))[0], 0, 'its disk');
ok(disk_is_clean($disk), 'is clean');

done_testing;
