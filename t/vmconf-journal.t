#!/usr/bin/perl
# What vmconf leaves half done, because a step failed or because it was killed: nothing is forgotten, nothing that was used
# since is taken back, and nobody else's journal is believed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use POSIX ();
use T;

need('qemu-img', 'qemu-io', 'strace');
need_that('strace may trace', sub { (run_command('strace', '-o', "$work/may", 'true'))[0] == 0 });

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $program = $ENV{T_VMCONF} || "$top/vmconf";
my $journal = "$state/.journal.json";
$ENV{ASAN_OPTIONS} = join(':', $ENV{ASAN_OPTIONS} || (), 'detect_leaks=0');	# it cannot look for them while it is traced

# Runs vmconf, its own calls alone, with strace's options: (status, output, errors).
sub traced {
	my ($how, @words) = @_;
	return run_command('strace', '-qq', '-o', "$work/trace", @$how, $program, @words);
}

# The number of the call, of those of that name, whose line matches.
sub number_of {
	my ($call, $pattern, @words) = @_;
	my ($status) = traced(['-e', "trace=$call"], @words);
	is($status, 0, "vmconf @words, traced");
	my @lines = grep { /^$call/ } split /\n/, slurp("$work/trace");
	my ($n) = grep { $lines[$_] =~ $pattern } 0 .. $#lines;
	return $n + 1;
}

# Kills it when it makes that call.
sub killed_at {
	my ($call, $n, @words) = @_;
	my ($status) = traced(['-e', "trace=$call", '-e', "inject=$call:error=EIO:signal=KILL:when=$n"], @words);
	is($status, 137, "vmconf @words, killed");
	ok(-e $journal, 'its journal is there');
}

# Both directories, and of each file its text (of a disk its size).
sub snapshot {
	my @found = grep { !/\/vm\.lock$/ || -s } split /\n/, `find $config $state -mindepth 1 -not -name .lock | sort`;
	return join '', map { "$_: " . (-d $_ ? 'directory' : /qcow2$/ ? -s $_ : slurp($_)) . "\n" } @found;
}

sub uuids { return map { /"uuid": "(\S+)"/ } map { slurp($_) } glob "$config/*.json" }

vmconf_does('create', 'victim', '--disk', '64M');
spew("$state/victim/vmlinuz", 'kernel');
vmconf_does('set', 'victim', 'kernel=vmlinuz');

subtest 'each step fails once, or from then on' => sub {
	my %change = (
		create => { do => ['create', 'fresh', '--disk', '64M'], undo => ['delete', 'fresh'] },
		clone => { do => ['clone', 'victim', 'copy'], undo => ['delete', 'copy'] },
		rename => { do => ['rename', 'victim', 'renamed'], undo => ['rename', 'renamed', 'victim'] },
		set => { do => ['set', 'victim', 'cpus=2'], undo => ['set', 'victim', 'cpus='] },
		delete => { do => ['delete', 'gone'], undo => ['create', 'gone', '--disk', '64M'] },
	);
	my %done = (create => qr/state\/fresh\/root/, clone => qr/state\/copy\/vmlinuz/, rename => qr/state\/renamed\/root/,
		set => qr/"cpus"/, delete => qr/\A(?!.*state\/gone)/s);
	my ($injected, $failed) = (0, 0);
	vmconf_does('create', 'gone', '--disk', '64M');
	for my $name (sort keys %change) {
		my $change = $change{$name};
		my $old = snapshot();
		traced(['-e', 'trace=/^(unlinkat|renameat2?|mkdirat|fsync)$'], @{ $change->{do} });
		my %count;
		$count{$1}++ for slurp("$work/trace") =~ /^(\w+)\(/mg;
		vmconf(@{ $change->{undo} });
		$old = snapshot();
		for my $call (sort keys %count) {
			for my $when (map { ($_, "$_+") } 1 .. $count{$call}) {
				my ($status, undef, $err) =
					traced(['-e', "trace=$call", '-e', "inject=$call:error=EIO:when=$when"], @{ $change->{do} });
				my $what = "$name, $call number $when";
				$injected++;
				$failed++ if $status != 0;
				ok($status == 0 || $err =~ /Input\/output error/, "$what: it says so if it failed") or diag($status, $err);
				my ($checked, undef, $told) = vmconf('check');
				is($checked, 0, "$what: check tries again") or diag($told);
				is((vmconf('check'))[2], '', "$what: then there is nothing more to be told");
				my %uuids = map { $_ => 1 } uuids();
				is(scalar keys %uuids, scalar(my @all = uuids()), "$what: no UUID twice");
				my $now = snapshot();
				unlike($now, qr/\.journal/, "$what: no journal is left");
				ok($now eq $old || $now =~ $done{$name}, "$what: old or new") or diag("$err\nwas:\n${old}is:\n$now");
				my ($undone, undef, $why) = $now eq $old ? (0) : vmconf(@{ $change->{undo} });
				is($undone, 0, "$what: undone") or diag($why);
				$old = snapshot();
			}
		}
	}
	diag("$injected failures, $failed changes failed");
	cmp_ok($failed, '>', 15, 'many of them failed');
};

SKIP: {
	skip('not root, or no chattr', 1) if $> != 0 || system("touch $work/a && chattr +i $work/a 2>/dev/null && chattr -i $work/a") != 0;
	subtest 'a file that may not be removed' => sub {
		vmconf_does('create', 'stuck', '--disk', '1M');
		system('chattr', '+i', "$state/stuck/root.qcow2");
		my $told = qr/cannot remove \Q$state\E\/stuck\/root\.qcow2: Operation not permitted\n.*stuck: its last change is not finished/;
		spew("$work/adapter", "#!/bin/sh\necho \"\$*\" >>$work/asked\n");
		chmod 0755, "$work/adapter";
		{
			local $ENV{QEMU_SUPERVISE_INIT} = "$work/adapter";
			vmconf_fails(1, $told, 'delete', 'stuck');
		}
		like(slurp("$work/asked"), qr/^disable stuck$/m, 'the init system is told that it is gone');
		ok(!definition('stuck') && -e "$state/stuck/root.qcow2", 'the VM is gone, its disk is not');
		my $err = vmconf_fails(1, $told, 'create', 'stuck', '--disk', '1M');
		like($err, qr/an earlier change of stuck is not finished/, 'the name is not free');
		vmconf_fails(1, qr/an earlier change of stuck is not finished/, 'rename', 'victim', 'stuck');
		vmconf_fails(1, qr/there is no VM stuck, but its last change is not finished; "vmconf check"/, 'delete', 'stuck');
		vmconf_fails(78, $told, 'check');
		my ($status, undef, $also) = vmconf('set', 'victim', 'cpus=3');
		is($status, 0, 'other VMs can be changed');
		like($also, $told, 'and what is left is told');
		system('chattr', '-i', "$state/stuck/root.qcow2");
		($status, undef, $err) = vmconf('check');
		is("$status$err", "0vmconf: stuck: its last change is finished now\n", 'it is finished as soon as it can be');
		ok(!-e "$state/stuck", 'all of it');
		vmconf_does('create', 'stuck', '--disk', '1M');
		vmconf_does('delete', 'stuck');

		system('chattr', '+i', "$config/victim.json");
		my $before = snapshot();
		vmconf_fails(1, qr/cannot rename \S+victim\.json to renamed\.json: Operation not permitted/, 'rename', 'victim', 'renamed');
		system('chattr', '-i', "$config/victim.json");
		is(snapshot(), $before, 'a rename that fails half way is taken back');
		is(vmconf_does('check'), '', 'and nothing is left of it');
	};
}

# ---- another directory of definitions ----

# Calls code with the other one.
sub elsewhere {
	my ($code) = @_;
	local $ENV{QEMU_SUPERVISE_CONFIG_DIR} = "$work/other";
	return $code->();
}

elsewhere(sub { vmconf_does('create', 'theirs', '--disk', '1M') });
my $last = number_of('unlinkat', qr/journal/, 'create', 'counted', '--disk', '1M');

subtest 'a create that is under way elsewhere is waited for' => sub {
	mkdir "$work/bin";
	POSIX::mkfifo("$work/gate", 0600) or die "mkfifo: $!";
	my ($img) = grep { -x } map { "$_/qemu-img" } split /:/, $ENV{PATH};
	spew("$work/bin/qemu-img", "#!/bin/sh\n: >'$work/begun'\nread go <'$work/gate'\nexec $img \"\$\@\"\n");
	chmod 0755, "$work/bin/qemu-img";
	my @pids = map {
		my $words = $_;
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			$ENV{PATH} = "$work/bin:$ENV{PATH}" if $words->[0] eq 'create';
			$ENV{QEMU_SUPERVISE_CONFIG_DIR} = "$work/other" if $words->[0] eq 'set';
			open(STDERR, '>', "$work/err.$words->[0]");
			exec($program, @$words) or POSIX::_exit(127);
		}
		wait_until('qemu-img', sub { -e "$work/begun" });
		$pid;
	} ['create', 'big', '--disk', '1M'], ['set', 'theirs', 'cpus=2'];
	wait_until('the other one waits', sub { slurp("$work/err.set") =~ /it holds \Q$state\E\/\.lock\): waiting for it/ });
	spew("$work/gate", "go\n");
	is(join(' ', map { waitpid($_, 0); $? } @pids), '0 0', 'both are done');
	ok(definition('big') && -e "$state/big/root.qcow2", 'and the VM is whole');
	unlike(slurp("$work/err.set"), qr/big/, 'nothing of it was taken back');
	vmconf_does('delete', 'big');
};

subtest 'a create that was killed when it was done' => sub {
	killed_at('unlinkat', $last, 'create', 'kept', '--disk', '1M');
	ok(definition('kept'), 'there is the VM');
	is(elsewhere(sub { (vmconf('set', 'theirs', 'cpus=1'))[2] }), '', 'the other directory has nothing to tell');
	ok(-e "$state/kept/root.qcow2" && !-e $journal, 'its disk stays, and the journal is done');
	vmconf_does('delete', 'kept');
};

subtest 'and whose definition was then removed by hand' => sub {
	killed_at('unlinkat', $last, 'create', 'unused', '--disk', '1M');
	unlink("$config/unused.json") or die;
	elsewhere(sub { vmconf_does('check') });
	ok(!-e "$state/unused", 'what was never used is taken back');

	killed_at('unlinkat', $last, 'create', 'used', '--disk', '1M');
	unlink("$config/used.json") or die;
	run_command('qemu-io', '-c', 'write -P 7 0 64k', "$state/used/root.qcow2");
	my ($status, undef, $err) = elsewhere(sub { vmconf('check') });
	is($status, 0, 'check');
	like($err, qr/used: a change of it was cut off, and its files were used since: they are left as they are in \S+\/used/, 'it is told');
	ok(-e "$state/used/root.qcow2" && !-e $journal, 'what was written to since stays');
	is(vmconf_does('check'), '', 'and is told once');

	killed_at('unlinkat', $last, 'create', 'ended', '--disk', '1M');
	unlink("$config/ended.json") or die;
	spew("$state/ended/last-end.json", '{"version": 1, "status": 0, "words": "the guest powered itself off", "ended": 1}');
	vmconf('check');
	ok(-e "$state/ended/root.qcow2", 'what has run since stays');
};

subtest 'a directory that cannot be asked' => sub {
	killed_at('unlinkat', $last, 'create', 'far', '--disk', '1M');
	rename($config, "$work/away") or die;
	my $told = qr/far: a change of it was interrupted, and only \Q$config\E\/far\.json, which cannot be read now, shows whether it was made; nothing is removed/;
	elsewhere(sub {
		vmconf_fails(78, $told, 'check');
		mkdir $config;
		vmconf_fails(78, $told, 'check');
		rmdir $config;
		my $err = vmconf_fails(1, $told, 'create', 'far', '--disk', '1M');
		like($err, qr/an earlier change of far is not finished/, 'the name is not free');
		my ($status) = vmconf('set', 'theirs', 'cpus=4');
		is($status, 0, 'other VMs can be changed');
	});
	ok(-e "$state/far/root.qcow2", 'the disk is there all the while');
	rename("$work/away", $config) or die;
	my ($status, undef, $err) = vmconf('check');
	is("$status$err", "0vmconf: far: its last change is finished now\n", 'when it is back it is asked');
	ok(-e "$state/far/root.qcow2" && definition('far'), 'the VM is whole');

	killed_at('unlinkat', $last, 'create', 'moved', '--disk', '1M');
	rename($config, "$work/away") or die;
	{
		local $ENV{QEMU_SUPERVISE_CONFIG_DIR} = "$work/away";
		is(vmconf_does('check'), '', 'the same directory under another name');
		ok(-e "$state/moved/root.qcow2" && !-e $journal, 'is asked as well');
	}
	rename("$work/away", $config) or die;
	vmconf_does('delete', 'far', 'moved');
};

subtest 'a delete that was cut off' => sub {
	vmconf_does('create', $_, '--disk', '1M') for qw(half counted2);
	my $definition = number_of('unlinkat', qr/counted2\.json/, 'delete', 'counted2');
	killed_at('unlinkat', $definition, 'delete', 'half');
	vmconf_does('set', 'victim', 'cpus=4');
	ok(-e "$state/half/root.qcow2" && !-e $journal, 'before it removed the definition: forgotten');
	killed_at('unlinkat', $definition + 1, 'delete', 'half');
	ok(!definition('half'), 'after that');
	spew("$work/other/half.json", '{}');
	is(elsewhere(sub { (vmconf('check'))[2] }), '', 'the other directory has a VM of that name');
	ok(-e "$state/half/root.qcow2" && !-e $journal, 'whose files stay');
	unlink("$work/other/half.json");
	spew("$config/half.json", '{"disks": [{"path": "root.qcow2", "format": "qcow2"}]}');
	killed_at('unlinkat', $definition + 1, 'delete', 'half');
	elsewhere(sub { vmconf_does('check') });
	ok(!-e "$state/half", 'else it is finished, from the other one too');
};

# ---- whom to believe ----

# A journal of a change that counts as committed, since there is no such VM.
sub forged {
	my (%o) = @_;
	my ($dev, $ino) = (stat $config)[0, 1];
	my %config = (path => $config, device => $dev, inode => $ino);
	return JSON::PP::encode_json({ version => 2, config => \%config, names => ['x'], 'committed-without' => 'x', forward => [], %o });
}

subtest 'a journal that leads elsewhere' => sub {
	spew("$work/precious", 'x');
	mkdir "$state/x";
	symlink($work, "$state/x/link");
	my %bad = (
		absolute => forged(forward => [['remove', "$work/precious"]]),
		upwards => forged(forward => [['remove', 'x/../../precious']]),
		'of another VM' => forged(forward => [['remove', 'victim/root.qcow2']]),
		'of all' => forged(names => ['..'], 'committed-without' => '..', forward => [['remove', '../precious']]),
		'of the images' => forged(names => ['images'], 'committed-without' => 'images', forward => [['remove', 'images/base']]),
		'renamed below' => forged(names => ['x', 'y'], forward => [['rename', 'x/a', 'y']]),
		unknown => forged(forward => [['chmod', 'x/a']]),
		'of version 1' => qq({"version": 1, "committed-without": "x", "forward": [["remove", "$work/precious"]]}),
	);
	for my $what (sort keys %bad) {
		spew($journal, $bad{$what});
		vmconf_fails(1, qr/\.journal\.json records an unfinished change, but is ignored/, 'set', 'victim', 'cpus=2');
		is(slurp("$work/precious"), 'x', "$what: nothing is removed");
	}
	spew($journal, forged(forward => [['remove', 'x/link/precious']]));
	vmconf_does('check');
	is(slurp("$work/precious"), 'x', 'a link below a VM\'s directory is not followed');
	spew($journal, '');
	is(vmconf_does('check'), '', 'one that a power cut has left empty is forgotten');
	ok(!-e $journal, 'for ever');
	ok(-e "$state/victim/root.qcow2", 'the VM is whole');
	unlink("$state/x/link");
	rmdir "$state/x";
};

subtest 'directories that others may write in' => sub {
	for my $dir ($config, $state) {
		for my $mode (0777, 01777, 0775) {
			mkdir "$state/x";
			spew("$state/x/root.qcow2", 'x');
			spew($journal, forged(forward => [['remove', 'x/root.qcow2'], ['rmdir', 'x']]));
			chmod($mode, $dir);
			my $why = qr/^vmconf: the directory of \w+ \Q$dir\E: found a directory with mode \d+, expected one that only its owner may write: chmod go-w/m;
			vmconf_fails(1, $why, 'check');
			vmconf_fails(1, $why, 'create', 'new', '--disk', '1M');
			ok(-e "$state/x/root.qcow2", sprintf('mode %04o: what is there is not believed', $mode));
			chmod(0755, $dir);
		}
	}
	vmconf_does('check');
	ok(!-e "$state/x", 'their own directory is, and so is its journal');
	SKIP: {
		skip('not root', 1) if $> != 0;
		for my $dir ($config, $state) {
			chown(12345, -1, $dir);
			vmconf_fails(1, qr/the directory of \w+ \Q$dir\E: found a directory of uid 12345, expected/, 'check');
			chown(0, -1, $dir);
		}
		mkdir "$state/x";
		spew("$state/x/root.qcow2", 'x');
		spew($journal, forged(forward => [['remove', 'x/root.qcow2']]));
		chown(12345, -1, $journal);
		vmconf_fails(1, qr/but is ignored: found a file of uid 12345/, 'check');
		chown(0, -1, $journal);
		chmod(0666, $journal);
		vmconf_fails(1, qr/but is ignored: found a file with mode 0666/, 'check');
		ok(-e "$state/x/root.qcow2", 'nor is a file of others');
		unlink($journal, "$state/x/root.qcow2");
		rmdir "$state/x";
	}
};

subtest 'one directory for both' => sub {
	mkdir "$work/both";
	local @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)} = ("$work/both") x 2;
	vmconf_does('create', 'one', '--disk', '1M');
	vmconf_does('rename', 'one', 'two');
	is(vmconf_does('check'), '', 'check says nothing');
	vmconf_does('delete', 'two');
	is(join(' ', glob "$work/both/*"), '', 'it comes and goes');
};

is(vmconf_does('check'), '', 'check says nothing');
done_testing;
