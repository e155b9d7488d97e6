#!/usr/bin/perl
# What a guest has said, and that it has come to grief: the log of its console, pvpanic, a watchdog.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'busybox');

my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $true = JSON::PP::true;

# A guest whose console is the VM's own.
sub guest {
	my ($name, $mode, %o) = @_;
	my $definition = T::guest_definition($mode, disk => make_disk(), console => '', %o);
	delete @$definition{qw(args agent)};
	my $s = supervise(name => $name, definition => { %$definition, console => 'socket', 'console-log' => $true, %{ $o{keys} || {} } },
		options => $o{options});
	$s->{console} = "$state/$name/console.log";
	return $s;
}

subtest 'a guest that panics' => sub {
	for my $machine (qw(q35 pc)) {
		my $s = guest($machine, 'panic-on-press', machine => $machine, panic => 0, keys => { pvpanic => $true });
		$s->wait_console(qr/guest: listening/);
		is((stat $s->{console})[2] & 07777, 0600, "$machine: its console is kept, for its owner alone");
		$s->signal('TERM');
		$s->ends_with(82, qr/the guest panicked/, $machine);
		my $said = last_end($machine)->{console};
		like(join("\n", @$said), qr/Kernel panic - not syncing: sysrq triggered crash/, "$machine: its last words are in its history");
		cmp_ok(scalar @$said, '<=', 12, "$machine: and no more than them");
		like(vmconf_does('history', $machine), qr/^    \| .*Kernel panic - not syncing/m, "$machine: which shows them");
	}
};

subtest 'a guest that hangs' => sub {
	my $s = guest('hung', 'watchdog', keys => { watchdog => { device => 'i6300esb', action => 'poweroff' } });
	$s->wait_log(qr/SHUTDOWN|WATCHDOG/);
	$s->end;
	like($s->log, qr/QEMU runs/, 'the device is there');
	my $next = guest('told', 'watchdog', options => ['-o', 'WATCHDOG=quit 10s, kill'],
		keys => { watchdog => { device => 'i6300esb', action => 'none' } });
	is($next->end, 80, 'its trigger has a ladder');
	like($next->log, qr/WATCHDOG from QMP: quit 10s, kill/, 'which is climbed');
	is(last_end('told')->{trigger}, 'WATCHDOG', 'and known to the history');
};

subtest 'the log of a console' => sub {
	my $s = guest('web', 'normal');
	$s->wait_console(qr/guest: listening/);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/);
	my $first = slurp($s->{console});
	like($first, qr/guest: down/, 'has all of it');
	ok(!exists last_end('web')->{console}, 'which is in the history only of one that came to grief');
	is(vmconf_does('console', 'web', '--log'), $first, 'vmconf console --log prints it as it is');
	my $again = supervise(vm => 'web');
	wait_until('more of it', sub { -s $s->{console} > length($first) });
	$again->signal('QUIT');
	$again->end;
	is(substr(slurp($s->{console}), 0, length $first), $first, 'the next start goes on behind it');
	vmconf_does('rename', 'web', 'site');
	ok(-s "$state/site/console.log", 'it goes along with its VM');
	vmconf_does('delete', 'site', '--keep-disks');
	ok(!-e "$state/site", 'and is deleted with it');
};

# A fake one is enough: what QEMU is told is what counts.
subtest 'its bounds' => sub {
	my $fake = T::fake_definition("$work/qemu-fake", fake_qemu());
	my $line = ('x' x 99) . "\n";
	mkdir($_, 0700) for "$state", "$state/long";
	spew("$state/long/console.log", $line x 12000);
	my $s = running(name => 'long', definition => { %$fake, 'console-log' => $true });
	is(-s "$state/long/console.log", 256 * 1024, 'of one that is too long the last part stays');
	kill('SEGV', $s->qemu);
	is($s->end, 83, 'QEMU dies');
	ok(!exists last_end('long')->{console}, 'what an earlier guest said is not told of this one');
	$s = running(name => 'long', definition => { %$fake, 'console-log' => $true });
	spew("$work/say", "one\r\n\r\n\033[31mred\033[0m \001\xff\n" . ('y' x 300));
	system("cat $work/say >>$state/long/console.log");
	$s = $s->taken_over;
	$s->wait_log(qr/QEMU runs/);
	kill('SEGV', $s->qemu);
	$s->end;
	is_deeply(last_end('long')->{console}, ['one', 'red ??', 'y' x 160], 'lines are harmless, and short');
	unlink("$state/long/console.log");
	symlink("$work/say", "$state/long/console.log");
	my $before = slurp("$work/say");
	$s = running(name => 'long', definition => { %$fake, 'console-log' => $true });
	ok(!-l "$state/long/console.log", 'a link is replaced');
	is(slurp("$work/say"), $before, 'and not followed');
	$s->signal('QUIT');
	$s->end;
	unlink("$state/long/console.log");
	mkdir("$state/long/console.log");
	$s = running(name => 'long', definition => { %$fake, 'console-log' => $true });
	like($s->log, qr/cannot open console\.log in the state directory: the console's output is not kept: Is a directory/, 'one that cannot be kept hinders nothing');
	$s->signal('QUIT');
	$s->end;
	T::define('plain', $fake);
	vmconf_fails(1, qr/plain has no log of its console: .*vmconf set plain console-log=true/, 'console', 'plain', '--log');
};

subtest 'vmconf create' => sub {
	vmconf_does('create', 'made', '--nic', 'none');
	is_deeply([map { definition('made')->{$_} } qw(console-log pvpanic)], [$true, $true], 'has them on');
	like(vmconf_does('command', 'made'), qr/pvpanic/, 'and the device');
	vmconf_does('create', 'other', '--nic', 'none', '--set', 'pvpanic=false', '--set', 'console-log=');
	is_deeply([map { definition('other')->{$_} } qw(console-log pvpanic)], [undef, JSON::PP::false], 'unless told otherwise');
};

done_testing;
