#!/usr/bin/perl
# state.json and the other files of the runtime directory, also where there is no room for them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

subtest 'the directory' => sub {
	my $s = running(fake => [], name => 'web');
	wait_until('state.json', sub { $s->state->{'run-state'} eq 'running' });
	is((stat($s->dir))[2] & 07777, 0700, 'its mode');
	is_deeply([sort map { s{.*/}{}r } glob($s->dir . '/*')], [qw(control lock qmp state.json vm.lock)], 'its files');
	is(slurp($s->dir . '/lock'), "$s->{pid}\n", 'lock names the supervisor');
	my ($start) = slurp('/proc/' . $s->qemu . '/stat') =~ /.*\)(?: \S+){19} (\d+)/;
	my $boot = slurp('/proc/sys/kernel/random/boot_id');
	is(slurp($s->dir . '/vm.lock'), $s->qemu . " $start $boot", 'vm.lock names QEMU, when it started and the boot');
	my $state = $s->state;
	is($state->{name}, 'web', 'state.json: name');
	is($state->{supervisor}, $s->{pid}, 'supervisor');
	is($state->{pid}, $s->qemu, 'pid');
	is($state->{phase}, 'running', 'phase');
	is($state->{'run-state'}, 'running', 'run state');
	is($state->{ladder}, undef, 'no ladder');
	is_deeply($state->{'set-action'}, { reboot => 'reset', shutdown => 'poweroff' }, 'what is set in QEMU');
	$s->fake(state => 'paused', event => 'STOP');
	wait_until('paused', sub { $s->state->{'run-state'} eq 'paused' });
	$s->fake(set => { ignore => 'system_powerdown' });
	$s->signal('TERM');
	wait_until('stopping', sub { $s->state->{phase} eq 'stopping' });
	$state = $s->state;
	is($state->{ladder}{trigger}, 'TERM', 'the ladder: trigger');
	is($state->{ladder}{action}, 'powerdown', 'action');
	is_deeply($state->{'set-action'}, { reboot => 'shutdown', shutdown => 'poweroff' }, 'what the stop has set');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'state');
};

subtest 'a directory that is there already' => sub {
	mkdir("$work/run/old", 0755) or die;
	spew("$work/run/old/$_", 'from before') for qw(control qmp lock vm.lock state.json state.json.new);
	my $s = running(fake => [], name => 'old');
	is((stat($s->dir))[2] & 07777, 0700, 'its mode is set');
	is($s->state->{name}, 'old', 'state.json is new');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'left over');
};

subtest 'somebody removes it' => sub {
	my $s = running(fake => [], name => 'gone');
	wait_until('state.json', sub { $s->state->{'run-state'} eq 'running' });
	system('rm', '-r', $s->dir);
	$s->signal('HUP');
	$s->wait_log(qr{cannot write .*/gone/state.json; the VM goes on: No such file});
	$s->wait_sent('system_reset');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'gone');
	is(scalar(() = $s->log =~ /cannot write/g), 1, 'told once');
};

# A file system of a few kB, seen by the supervisor and what it starts.
subtest 'no room' => sub {
	plan skip_all => 'needs root' if $> != 0;
	my $dir = "$work/full";
	mkdir($dir);
	my $script = "mount -t tmpfs -o size=16k tmpfs $dir && exec \"\$@\"";
	my ($status) = run_command('unshare', '-m', 'sh', '-c', $script, 'sh', 'true');
	plan skip_all => 'may not mount here' if $status != 0;
	my $s = supervise(
		fake => [], name => 'full', prefix => ['unshare', '-m', 'sh', '-c', $script, 'sh'],
		env => { QEMU_SUPERVISE_RUNTIME_DIR => $dir }
	);
	$s->wait_log(qr/QEMU runs/);
	my $inside = "/proc/$s->{pid}/root$dir";
	wait_until('state.json', sub { slurp("$inside/full/state.json") =~ /"running"/ });
	open(my $fill, '>', "$inside/fill") or die $!;
	1 while syswrite($fill, 'x' x 512);
	$s->signal('HUP');
	$s->wait_log(qr{cannot write $dir/full/state.json; the VM goes on: No space left on device});
	like(slurp("$inside/full/state.json"), qr/"running"[^{]*\{.*\}\s*\z/s, 'the old one is whole');
	# One that comes while another is under way changes nothing.
	wait_until('a second reset', sub { $s->signal('HUP'); $s->sent(qr/system_reset/) >= 2 });
	is(scalar(() = $s->log =~ /cannot write/g), 1, 'told once');
	truncate($fill, 0);
	close($fill);
	my $before = $s->sent(qr/system_reset/);
	wait_until('another reset', sub { $s->signal('HUP'); $s->sent(qr/system_reset/) > $before });
	wait_until('room again', sub { slurp("$inside/full/state.json") ne '' && !-e "$inside/full/state.json.new" });
	$s->signal('TERM');
	is($s->end, 0, 'the VM goes on to its clean end') or diag($s->log);
};

done_testing;
