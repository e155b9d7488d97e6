#!/usr/bin/perl
# vmconf rename: what a definition says stays the same, and what is in the VM's directory is named where it is then.
use strict;
use warnings;
use File::Basename qw(basename);
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-img');

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $json = JSON::PP->new->canonical;

# A VM that exists as a definition only, and its directory with files of these names.
sub defined_as {
	my ($name, $keys, @files) = @_;
	mkdir $_ for $config, $state, "$state/$name";
	spew("$state/$name/$_", $_) for @files;
	spew("$config/$name.json", $json->encode({ accel => 'tcg', %$keys }));
}

sub remove {
	my ($name) = @_;
	system('rm', '-rf', "$config/$name.json", "$state/$name", "$state/.$name.made.json");
}

subtest 'paths' => sub {
	my @boot = qw(kernel initrd cdrom firmware);
	defined_as('older', {}, @boot, 'disk');
	defined_as('old', {
		(map { $_ => "$state/old/$_" } @boot),
		disks => [map { { path => $_, format => 'raw' } } "$state/old/one", "$state/older/disk", "$state/old-disk", 'two', "$state/old/three"],
		nics => [],
		args => ['-x', "a=$state/old/a,b=$state/old/b,c=$state/older/c", "$state/old", 'old/d']
	}, @boot, 'one', 'two', 'three');
	spew("$state/old-disk", '');
	is_deeply([vmconf('rename', 'old', 'new')], [0, '', "vmconf: new is the new name of old; next: vmconf start new\n"], 'what comes next');
	my $new = definition('new');
	is($new->{$_}, $_ eq 'firmware' ? './firmware' : $_, "$_: relative to the directory") for @boot;
	is(join(' ', map { $_->{path} } @{ $new->{disks} }), "one $state/older/disk $state/old-disk two three", 'disks: those in the directory');
	is(join(' ', @{ $new->{args} }), "-x a=$state/new/a,b=$state/new/b,c=$state/older/c $state/old old/d", 'args: where the files are now');
	is(slurp("$state/new/one"), 'one', 'they are there');
	ok(!-e "$state/old" && !-e "$config/old.json", 'and the old ones are not');
	my $before = slurp("$config/new.json");
	vmconf_does('rename', 'new', 'old');
	is(definition('old')->{args}[1], "a=$state/old/a,b=$state/old/b,c=$state/older/c", 'and back');
	remove($_) for 'old', 'older';
	unlink("$state/old-disk");
};

subtest 'what was made of the name' => sub {
	defined_as('old', { nics => [{ type => 'user' }, { type => 'user', mac => '52:54:00:00:00:01' }, { type => 'user' }] });
	my $command = vmconf_does('command', 'old');
	my @macs = $command =~ /((?:[0-9a-f]{2}:){5}[0-9a-f]{2})/g;
	is(scalar @macs, 3, 'three MACs');
	vmconf_does('rename', 'old', 'new');
	is(join(' ', map { $_->{mac} } @{ definition('new')->{nics} }), "@macs", 'are as they were');
	is(vmconf_does('command', 'new') =~ s/\bnew\b/old/gr, $command, 'and so is the command line, but for the name');
	my $inode = (stat "$config/new.json")[1];
	vmconf_does('rename', 'new', 'old');
	is((stat "$config/old.json")[1], $inode, 'a definition that says all of it is not written again');
	remove('old');
};

subtest 'a name that is free' => sub {
	defined_as('old', {}, 'file');
	mkdir "$state/new";
	spew("$state/.new.made.json", '{"version": 1, "files": ["file"]}');
	vmconf_does('rename', 'old', 'new');
	is(slurp("$state/new/file"), 'file', 'an empty directory does not count');
	ok(!-e "$state/.new.made.json", 'nor does a list of one that was removed without us');
	spew("$state/third", '');
	my $taken = qr/^vmconf: \Q$state\E\/third already exists, but there is no VM third: move it away or remove it$/m;
	vmconf_fails(1, $taken, 'rename', 'new', 'third');
	unlink("$state/third");
	mkdir "$state/third";
	spew("$state/third/x", '');
	vmconf_fails(1, qr/third already exists/, 'rename', 'new', 'third');
	ok(definition('new') && -e "$state/new/file" && !definition('third') && !-e "$state/.journal.json", 'and nothing has changed');
	remove('third');
	remove('new');
	defined_as('bare', {});
	rmdir "$state/bare";
	vmconf_does('rename', 'bare', 'other');
	ok(definition('other') && !-e "$state/other", 'one without a directory has none then');
	remove('other');
};

subtest 'one that cannot be held down' => sub {
	defined_as('old', {});
	symlink('x', "$state/old/vm.lock");
	my $err = vmconf_fails(1, qr/^vmconf: old cannot be renamed: cannot lock \Q$state\E\/old\/vm\.lock: /m, 'rename', 'old', 'new');
	ok(definition('old') && !definition('new') && -d "$state/old", 'it is not renamed');
	remove('old');
};

subtest 'an image that is based on one of the same VM' => sub {
	defined_as('old', { disks => [{ path => 'top.qcow2', format => 'qcow2' }] });
	for my $base ("$state/old/base.qcow2", 'base.qcow2') {
		run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$state/old/base.qcow2", '1M');
		run_command('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', $base, '-F', 'qcow2', "$state/old/top.qcow2");
		vmconf_fails(1, qr/^vmconf: old cannot be renamed: its disk \S+top\.qcow2 is based on \S+base\.qcow2, which would be elsewhere; see qemu-img rebase -u$/m,
			'rename', 'old', 'new') if $base =~ /^\//;
	}
	defined_as('user', { disks => [{ path => "$state/old/base.qcow2", format => 'qcow2', 'read-only' => JSON::PP::true }] });
	vmconf_fails(1, qr/old cannot be renamed: .*\bof user\b/, 'rename', 'old', 'new');
	remove('user');

	# The overlay is elsewhere.
	mkdir "$work/elsewhere";
	run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$state/old/base.qcow2", '1M');
	for my $base ("$state/old/base.qcow2", '../state/old/base.qcow2') {
		is((run_command('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', $base, '-F', 'qcow2', "$work/elsewhere/top.qcow2"))[0], 0, "based on $base");
		defined_as('old', { disks => [{ path => "$work/elsewhere/top.qcow2", format => 'qcow2' }] });
		vmconf_fails(1, qr/^vmconf: old cannot be renamed: its disk \S+top\.qcow2 is based on \S+base\.qcow2, which would be elsewhere/m,
			'rename', 'old', 'new');
	}
	remove('old');
};

subtest 'its own files by other names' => sub {
	my $alias = "$work/../" . basename($work);
	defined_as('old', { disks => [{ path => "$alias/state/old/disk.raw", format => 'raw' }] });
	truncate(spew("$state/old/disk.raw", ''), 1 << 20);
	vmconf_fails(1, qr/^vmconf: old cannot be renamed: \S+disk\.raw is in its directory, and would be elsewhere/m, 'rename', 'old', 'new');
	remove('old');
	defined_as('old', { description => 'ours', on => { USR1 => "run:$state/old/hook 5s" }, 'cloud-init' => { 'user-data' => "$state/old/user-data" } });
	spew("$state/old/$_", "#cloud-config\n{}\n") for 'user-data', 'hook';
	vmconf_does('rename', 'old', 'new');
	my $new = definition('new');
	is($new->{on}{USR1}, "run:$state/new/hook 5s", 'a program');
	is($new->{'cloud-init'}{'user-data'}, "$state/new/user-data", 'user-data');
	remove('new');
};

subtest 'a VM of which not all is known' => sub {
	defined_as('old', {});
	spew("$config/user.json", '{');
	vmconf_fails(1, qr/^vmconf: old cannot be renamed: \S+user\.json cannot be read/m, 'rename', 'old', 'new');
	remove($_) for 'old', 'user';
};

subtest 'a file that only another VM needs' => sub {
	defined_as('old', {});
	truncate(spew("$state/old/other.raw", ''), 1 << 20);
	for my $path ("$state/old/other.raw", "$work/../" . basename($work) . '/state/old/other.raw') {
		defined_as('user', { disks => [{ path => $path, format => 'raw' }] });
		vmconf_fails(1, qr/^vmconf: old cannot be renamed: its disk \S+other\.raw is also a disk of user/m, 'rename', 'old', 'new');
	}
	remove($_) for 'old', 'user';
};

subtest 'the init system' => sub {
	defined_as('old', {});
	spew("$work/adapter", "#!/bin/sh\necho \"\$*\" >>$work/asked\n[ \$1 != is-enabled ] || [ \$2 = old ]\n");
	chmod 0755, "$work/adapter";
	local $ENV{QEMU_SUPERVISE_INIT} = "$work/adapter";
	vmconf_does('rename', 'old', 'new');
	like(slurp("$work/asked"), qr/^is-enabled old\n.*^enable new\n.*^disable old$/ms, 'starts it at boot under its new name');
	spew("$work/asked", '');
	vmconf_does('rename', 'new', 'old');
	unlike(slurp("$work/asked"), qr/^enable/m, 'one that is not started at boot is not then');
	remove('old');
};

is(join(' ', glob "$config/* $state/*"), '', 'nothing is left') or diag(`ls -la $config $state`);
done_testing;
