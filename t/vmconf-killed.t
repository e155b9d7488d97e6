#!/usr/bin/perl
# vmconf is killed at random moments of a change: afterwards there is either the old or the new state.
# T_SEED chooses the same moments again, T_ROUNDS how many.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;
use Time::HiRes qw(usleep);

need('qemu-img');

my $rounds = $ENV{T_ROUNDS} || 200;
my $seed = $ENV{T_SEED} || int(rand(1 << 31));
srand($seed);
diag("T_SEED=$seed");
my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
$ENV{TMPDIR} = "$work/tmp";
mkdir $ENV{TMPDIR};
delete $ENV{VISUAL};
$ENV{EDITOR} = qq(sed -i 's/"description": "[^"]*"/"description": "edited"/');

# Every file of both directories with what is in it; of disks, that they are there and whole. An empty vm.lock that
# nobody holds says nothing of the VM.
sub snapshot {
	my %found;
	for my $path (split /\n/, `find $config $state -mindepth 1 -not -name .lock`) {
		next if $path =~ /\/vm\.lock$/ && -z $path;
		my $name = $path =~ s/^\Q$work\E\///r;
		$found{$name} = -d $path ? 'directory' : $path =~ /qcow2$/ ? whole($path) : slurp($path);
	}
	return \%found;
}

sub whole { return (run_command('qemu-img', 'info', '-f', 'qcow2', $_[0]))[0] == 0 ? 'disk' : 'broken disk' }

sub text { return join '', map { "$_: $_[0]{$_}\n" } sort keys %{ $_[0] } }

# Runs vmconf and kills it after so many seconds; none: lets it end. Returns whether it was killed.
sub run_killed {
	my ($seconds, @words) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', '/dev/null');
		open(STDERR, '>', "$work/err");
		exec($ENV{T_VMCONF} || "$top/vmconf", @words) or POSIX::_exit(127);
	}
	if (defined $seconds) {
		usleep($seconds * 1e6);
		kill('KILL', $pid);
	}
	waitpid($pid, 0);
	return ($? & 127) == 9;
}

vmconf_does('create', 'base', '--disk', '64M', '--set', 'description=old');
spew("$state/base/vmlinuz", 'kernel');
vmconf_does('set', 'base', 'kernel=vmlinuz');
vmconf_does('create', 'victim', '--disk', '64M');

# What each change is, what it makes of the old state (UUIDs and MACs aside), and what undoes it.
my %change = (
	create => { do => ['create', 'fresh', '--disk', '64M'], undo => ['delete', 'fresh'],
		new => { 'config/fresh.json' => 1, 'state/fresh' => 1, 'state/fresh/root.qcow2' => 1, 'state/.fresh.made.json' => 1 } },
	set => { do => ['set', 'base', 'description=new', 'cpus=2'], undo => ['set', 'base', 'description=old', 'cpus='],
		new => { 'config/base.json' => 1 } },
	edit => { do => ['edit', 'base'], undo => ['set', 'base', 'description=old'], new => { 'config/base.json' => 1 } },
	rename => { do => ['rename', 'victim', 'renamed'], undo => ['rename', 'renamed', 'victim'],
		new => { map { ("config/$_.json" => 1, "state/$_" => 1, "state/$_/root.qcow2" => 1, "state/.$_.made.json" => 1) } 'victim', 'renamed' } },
	clone => { do => ['clone', 'base', 'copy'], undo => ['delete', 'copy'],
		new => { 'config/copy.json' => 1, 'state/copy' => 1, 'state/.copy.made.json' => 1, map { ("state/copy/$_" => 1) } 'root.qcow2', 'vmlinuz' } },
	delete => { do => ['delete', 'victim'], undo => ['create', 'victim', '--disk', '64M'],
		new => { 'config/victim.json' => 1, 'state/victim' => 1, 'state/victim/root.qcow2' => 1, 'state/.victim.made.json' => 1 } },
);

# What it is like unkilled: how long it takes, and which files it changes.
for my $name (sort keys %change) {
	my $change = $change{$name};
	my $old = snapshot();
	my $began = time;
	run_killed(undef, @{ $change->{do} });
	$change->{takes} = time - $began;
	is($?, 0, "vmconf @{ $change->{do} }") or diag(slurp("$work/err"));
	my $new = snapshot();
	my @changed = grep { ($old->{$_} // '') ne ($new->{$_} // '') } keys %{ { %$old, %$new } };
	is_deeply({ map { $_ => 1 } @changed }, $change->{new}, "$name: the files that it changes");
	$change->{keys} = join ' ', sort keys %$new;
	vmconf(@{ $change->{undo} });
	is(join(' ', sort keys %{ snapshot() }), join(' ', sort keys %$old), "$name: undone");
}

my (%count, @names);
for my $round (1 .. $rounds) {
	@names = sort keys %change if !@names;
	my $name = shift @names;
	my $change = $change{$name};
	my $old = snapshot();
	my $killed = run_killed(rand($change->{takes} * 1.2), @{ $change->{do} });
	$change->{takes} *= $killed ? 1.1 : 0.8;	# the host's load changes
	my ($status, $out, $err) = vmconf('check');
	my $now = snapshot();
	my $is_old = text($now) eq text($old);
	my $is_new = !$is_old && join(' ', sort keys %$now) eq $change->{keys} && !grep { $_ eq 'broken disk' } values %$now;
	for my $file (keys %$old) {
		$is_new &&= ($now->{$file} // '') eq $old->{$file} if !$change->{new}{$file};
	}
	ok($is_old || $is_new, "$round: $name: old or new") or diag("was:\n", text($old), "is:\n", text($now));
	is("$status$out$err", '0', "$round: $name: check says nothing");
	$count{$name}{ !$killed ? 'ended before' : $is_old ? 'old' : 'new' }++;
	next if $is_old;
	($status, $out, $err) = vmconf(@{ $change->{undo} });
	is($status, 0, "$round: $name: undone") or diag($err);
}
my ($killed, $old) = (0, 0);
for my $name (sort keys %count) {
	diag("$name: ", join ', ', map { "$count{$name}{$_} $_" } sort keys %{ $count{$name} });
	$old += $count{$name}{old} // 0;
	$killed += ($count{$name}{old} // 0) + ($count{$name}{new} // 0);
}
cmp_ok($killed, '>=', $rounds / 3, 'many of them were killed in time');

done_testing;
