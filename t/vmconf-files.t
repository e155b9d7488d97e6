#!/usr/bin/perl
# Which local files a definition or an image names, however it does: what another VM needs is neither removed nor moved
# nor written to, and what a guest may have written is not believed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-img', 'qemu-system-x86_64');

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $json = JSON::PP->new->canonical;
my $null = JSON::PP::null;

sub img {
	my ($status, undef, $err) = run_command('qemu-img', @_);
	is($status, 0, "qemu-img @_") or diag($err);
}

sub image { img('create', '-q', '-f', @_) }

# A VM that exists as a definition only.
sub defined_as {
	my ($name, %keys) = @_;
	mkdir $config;
	spew("$config/$name.json", $json->encode({ accel => 'tcg', %keys }));
}

sub gone {
	unlink map { "$config/$_.json" } @_;
}

# In a directory of its own: qemu-img may write to what it is given.
mkdir "$work/i";
vmconf_does('create', 'a', quick('--disk', '64M'));
my $a = "$state/a/root.qcow2";
my $node = { driver => 'file', filename => $a };
my $based = qr/what a disk of b is based on/;
my $also = qr/also a disk of b/;
my $data = qr/where a disk of b keeps its data/;
my $named = qr/named by the definition of b/;

image('qcow2', '-b', 'json:' . $json->encode({ driver => 'qcow2', file => $node }), '-F', 'qcow2', "$work/i/json.qcow2", '64M');
image('qcow2', '-b', "json:{\"driver\":\"qcow2\",\"file.driver\":\"file\",\"file.filename\":\"$a\"}", '-F', 'qcow2', "$work/i/dotted.qcow2", '64M');
image('qcow2', '-b', "file:$a", '-F', 'qcow2', "$work/i/prefix.qcow2", '64M');
image('qcow2', '-b', $a, '-F', 'qcow2', "$work/i/plain.qcow2");
image('qcow2', '-b', 'plain.qcow2', '-F', 'qcow2', "$work/i/deep.qcow2");
image('qcow', '-b', $a, '-F', 'qcow2', "$work/i/one.qcow");
image('qed', '-b', $a, '-F', 'qcow2', "$work/i/one.qed");
image('qcow2', "$work/i/empty.qcow2", '64M');
image('vmdk', "$work/i/parent.vmdk", '64M');
image('vmdk', '-b', "$work/i/parent.vmdk", '-F', 'vmdk', "$work/i/child.vmdk");
image('vmdk', '-o', 'subformat=twoGbMaxExtentFlat', "$work/i/text.vmdk", '64M');
spew("$work/i/to-a.vmdk", slurp("$work/i/text.vmdk") =~ s/text-f001\.vmdk/$a/r);
image('qcow2', '-o', "data_file=$work/i/data.raw", "$work/i/data.qcow2", '64M');
# The same length, so that only the name changes: QEMU would have written to what it names.
my $link = "$work/i/link.raw";
symlink($a, $link);
spew("$work/i/to-a.qcow2", slurp("$work/i/data.qcow2") =~ s/\Q$work\E\/i\/data\.raw/$link/r);
# So that the names are relative to b's directory, and lead nowhere here.
sub as_long_as {
	my ($dir, $file, $len) = @_;
	my $more = $len - length("$dir$file");
	return $dir . './' x int($more / 2) . '/' x ($more % 2) . $file;
}
spew("$work/i/relative.qcow2", slurp("$work/i/data.qcow2") =~ s/(\Q$work\E\/i\/data\.raw)/as_long_as('..\/a\/', 'root.qcow2', length($1))/er);
image('qcow2', '-u', '-b', 'json:{"driver":"qcow2","file.filename":"../a/root.qcow2"}', '-F', 'qcow2', "$work/i/relative-json.qcow2", '64M');
system('dd', 'if=/dev/zero', "of=$work/i/shifted.raw", 'bs=64k', 'count=1', 'status=none');
spew("$work/i/shifted.raw", slurp("$work/i/shifted.raw") . slurp("$work/i/plain.qcow2"));

sub disk {
	my (%keys) = @_;
	return (disks => [{ format => 'qcow2', %keys }]);
}

sub file {
	return { driver => 'file', filename => "$work/i/$_[0]" };
}

# What b says, and what a is to it.
my @ways = (
	['a json: name', $based, disk(path => "$work/i/json.qcow2")],
	['a json: name with dots', $based, disk(path => "$work/i/dotted.qcow2")],
	['a name with file:', $based, disk(path => "$work/i/prefix.qcow2")],
	['an image further down', $based, disk(path => "$work/i/deep.qcow2")],
	['qcow', $based, disk(path => "$work/i/one.qcow", format => 'qcow')],
	['qed', $based, disk(path => "$work/i/one.qed", format => 'qed')],
	['an extent of vmdk', $data, disk(path => "$work/i/to-a.vmdk", format => 'vmdk')],
	['a data file', $data, disk(path => "$work/i/to-a.qcow2")],
	['file instead of path', $also, disk(file => $node)],
	['file instead of path, and what that is based on', $based, disk(file => file('plain.qcow2'))],
	['file without a driver', $based, disk(file => { filename => "$work/i/plain.qcow2" })],
	['a filter below the format', $based, disk(file => { driver => 'throttle', 'throttle-group' => 't', file => file('plain.qcow2') })],
	['another one', $based, disk(file => { driver => 'blkdebug', image => file('plain.qcow2') })],
	['raw with an offset below the format', $based, disk(file => { driver => 'raw', offset => 65536, file => file('shifted.raw') })],
	['a filter as the format', $based, disk(format => 'copy-on-read', file => { driver => 'qcow2', file => file('plain.qcow2') })],
	['children', $also, disk(format => 'quorum', 'vote-threshold' => 1, children => [{ driver => 'qcow2', file => $node }])],
	['backing', $based, disk(path => "$work/i/empty.qcow2", backing => { driver => 'qcow2', file => $node })],
	['the name of a node', $based, disk(path => "$work/i/empty.qcow2", backing => 'base'),
		args => ['-blockdev', "driver=qcow2,node-name=base,read-only=on,file.driver=file,file.filename=$a"]],
	['file as the name of a node', $based, disk(file => 'proto'), args => ['-blockdev', $json->encode({ %{ file('plain.qcow2') }, 'node-name' => 'proto' })]],
	['data-file', $data, disk(path => "$work/i/empty.qcow2", 'data-file' => $node)],
	['a target of writes', $also, disk(format => 'copy-before-write', file => { driver => 'qcow2', file => file('empty.qcow2') },
		target => { driver => 'qcow2', file => $node })],
	['-blockdev', $based, args => ['-blockdev', 'qcow2,node-name=x,file.driver=file,file.filename=' . "$work/i/plain.qcow2"]],
	['-blockdev, JSON', $based, args => ['-blockdev', $json->encode({ driver => 'qcow2', 'node-name' => 'x', file => file('plain.qcow2') })]],
	['-drive', $based, args => ['-drive', "if=none,file=$work/i/plain.qcow2,format=qcow2"]],
	['-drive, with dots', $based, args => ['--drive', "if=none,driver=qcow2,file.driver=file,file.filename=$work/i/plain.qcow2"]],
	['-drive, json:', $also, args => ['-drive', 'file=json:' . $json->encode({ driver => 'qcow2', file => $node }) =~ s/,/,,/gr]],
	['-drive, backing', $based, args => ['-drive', "file=$work/i/empty.qcow2,format=qcow2,backing.driver=qcow2,backing.file.driver=file,backing.file.filename=$a"]],
	['-hda', $also, args => ['-hda', $a]],
	['-cdrom', $also, args => ['-cdrom', $a]],
	['another option', $named, args => ['-device', "loader,file=$a,addr=0"]],
	['another option, JSON', $named, args => ['-object', $json->encode({ 'qom-type' => 'memory-backend-file', 'mem-path' => $a })]],
	['kernel', $named, kernel => $a],
	['cdrom', $named, cdrom => '../a/root.qcow2'],
	['a name that is relative to QEMU\'s directory', $also, disk(file => { driver => 'file', filename => '../a/root.qcow2' })],
	['the same in an image', $data, disk(path => "$work/i/relative.qcow2")],
	['the same in a json: name', $based, disk(path => "$work/i/relative-json.qcow2")],
);
for my $way (@ways) {
	my ($what, $how, %keys) = @$way;
	defined_as('b', %keys);
	subtest $what => sub {
		vmconf_fails(1, qr/a cannot be deleted: its \S+ \Q$a\E is $how/, 'delete', 'a');
		vmconf_fails(1, qr/a cannot be renamed: .*$how/, 'rename', 'a', 'c');
		ok(-e $a && definition('a'), 'it is there');
		return if $how != $based && $how != $data;
		vmconf_fails(1, qr/a must not be started: its disk \Q$a\E is $how/, 'start', 'a');
		vmconf_fails(78, qr/a must not be started: its disk \Q$a\E is $how/, 'check', 'a');
	};
}
defined_as('b', disk(path => "$work/i/child.vmdk", format => 'vmdk'));
defined_as('p', disk(path => "$work/i/parent.vmdk", format => 'vmdk'));
vmconf_fails(1, qr/p must not be started: .*parent\.vmdk is $based/, 'start', 'p');
gone('p');

# What names no local file, and what is no base, needs no guard; what is not understood does.
subtest 'nothing to guard' => sub {
	my @others = (
		[disk(format => 'raw', file => { driver => 'nbd', server => { type => 'unix', path => '/nowhere' } })],
		[disk(format => 'qcow2', file => { driver => 'rbd', pool => 'p', image => 'i' })],
		[disk(format => 'nbd', server => { type => 'inet', host => 'h', port => '1' })],
		[args => ['-drive', 'file=nbd:localhost:1,format=qcow2', '-drive', 'file=iscsi://h/t/1,format=raw']],
		[disk(path => "$work/i/plain.qcow2", backing => $null)],
		[disk(path => '/not/there.qcow2')],
		[append => $a, description => $a],
	);
	for my $other (@others) {
		defined_as('b', @$other);
		vmconf_does('rename', 'a', 'a2');
		vmconf_does('rename', 'a2', 'a');
	}
};

subtest 'not understood' => sub {
	img('create', '-q', '-f', 'qcow2', "$work/i/unsaid.qcow2", '64M');
	my @others = (
		[qr/disks\[0\]: the driver nonsense is not known here/, disk(format => 'nonsense', file => file('plain.qcow2'))],
		[qr/disks\[0\]: what the header of an image on luks says cannot be read here: .*"backing"/, disk(file => { driver => 'luks', file => file('plain.qcow2') })],
		[qr/-hda: nothing says of what format \S+unsaid\.qcow2 is/, args => ['-hda', "$work/i/unsaid.qcow2"]],
		[qr/disks\[0\]: "\/dev\/fdset\/1" is another file for each process/, disk(file => { driver => 'file', filename => '/dev/fdset/1' })],
		[qr/-drive: "fat:\/x" has a protocol that is not known here/, args => ['-drive', 'file=fat:/x']],
		[qr/-readconfig: what is in \/x is not read here/, args => ['-readconfig', '/x']],
	);
	for my $other (@others) {
		my ($why, @keys) = @$other;
		defined_as('b', @keys);
		vmconf_fails(1, qr/a cannot be deleted: a disk of b may be based on one of a: $why/, 'delete', 'a');
		vmconf_fails(1, qr/a cannot be renamed: .*$why/, 'rename', 'a', 'c');
		my ($status, undef, $err) = vmconf('check', 'b');
		like($err, $why, 'check tells');
	}
	defined_as('b', disk(path => "$work/i/circle.qcow2"));
	image('qcow2', "$work/i/circle.qcow2", '1M');
	img('rebase', '-u', '-b', "$work/i/circle.qcow2", '-F', 'qcow2', "$work/i/circle.qcow2");
	vmconf_fails(1, qr/a cannot be deleted: .*based on itself/, 'delete', 'a');
};

# What a guest writes to its raw disk looks like an image that is based on another VM's.
subtest 'a guest\'s own header' => sub {
	spew("$work/i/raw.raw", slurp("$work/i/plain.qcow2"));
	defined_as('b', disk(format => 'raw', path => "$work/i/raw.raw"));
	is(vmconf_does('check', 'a'), '', 'check says nothing');
	vmconf_does('start', 'a');
	vmconf_does('stop', 'a');
	vmconf_does('rename', 'a', 'a2');
	vmconf_does('rename', 'a2', 'a');
	# On a raw base, too.
	image('qcow2', '-b', "$work/i/raw.raw", '-F', 'raw', "$work/i/on-raw.qcow2", '64M');
	defined_as('b', disk(path => "$work/i/on-raw.qcow2"));
	is(vmconf_does('check', 'a'), '', 'check says nothing');
};

subtest 'a base that is not there' => sub {
	image('qcow2', '-u', '-b', '/not/there.raw', '-F', 'raw', "$work/i/lost.qcow2", '64M');
	defined_as('b', disk(path => "$work/i/lost.qcow2"));
	vmconf_fails(78, qr/b\.json: \S+lost\.qcow2 needs \/not\/there\.raw, which does not exist/, 'check', 'b');
	# Nor is what is not a file opened: a FIFO would have a reader.
	gone('b');
};

# ---- what is written to by another one as well ----
subtest 'clone' => sub {
	vmconf_does('create', 'c1', quick('--disk', '1M'));
	my $definition = definition('c1');
	image('qcow2', "$work/i/shared.qcow2", '1M');
	local $definition->{disks} = [{ format => 'quorum', 'vote-threshold' => 1,
		children => [{ driver => 'qcow2', file => { driver => 'file', filename => "$work/i/shared.qcow2" } }] }];
	spew("$config/c1.json", $json->encode($definition));
	vmconf_fails(1, qr/c1 cannot be cloned: both would write to \S+\/i\/shared\.qcow2, which is not in the state directory of c1/, 'clone', 'c1', 'c2');
	ok(!definition('c2'), 'and there is none');
	$definition->{disks} = [{ format => 'qcow2', file => { driver => 'file', filename => "$state/c1/root.qcow2" } }];
	spew("$config/c1.json", $json->encode($definition));
	vmconf_does('rename', 'c1', 'c3');
	is(definition('c3')->{disks}[0]{file}{filename}, "$state/c3/root.qcow2", 'a rename moves what only "file" names');
	is(vmconf_does('check', 'c3'), '', 'check says nothing');
	vmconf_does('delete', 'c3');
};

# ---- another QEMU ----
subtest 'a disk that is open' => sub {
	vmconf_does('create', 'locked', quick('--disk', '1M'));
	pipe(my $ours, my $its) or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDOUT, '>', "$work/other");
		open(STDIN, '<&', $ours);
		no warnings 'exec';
		exec('qemu-system-x86_64', '-nodefaults', '-S', '-machine', 'none', '-display', 'none', '-qmp', 'stdio', '-blockdev',
			"qcow2,node-name=n,file.driver=file,file.filename=$state/locked/root.qcow2,read-only=on");
		POSIX::_exit(127);
	}
	wait_until('its greeting', sub { slurp("$work/other") =~ /QMP/ });
	vmconf_fails(1, qr/locked cannot be deleted: another QEMU has its disk \S+\/locked\/root\.qcow2 open .*--force/, 'delete', 'locked');
	ok(-e "$state/locked/root.qcow2" && definition('locked'), 'it is there');
	vmconf_does('delete', 'locked', '--force');
	ok(!-e "$state/locked", '--force deletes it');
	kill 'KILL', $pid;
	waitpid($pid, 0);
};

# ---- base images ----
mkdir "$state/images";
image('raw', "$work/i/secret.raw", '1M');
spew("$work/i/secret.raw", 'secret' . "\0" x 1048570);
my @images = (
	['a backing file', qr/secret\.raw/, 'qcow2', '-b', "$work/i/secret.raw", '-F', 'raw'],
	['a json: name', qr/secret\.raw/, 'qcow2', '-b', "json:{\"driver\":\"raw\",\"file.filename\":\"$work/i/secret.raw\"}", '-F', 'raw'],
	['qed', qr/secret\.raw/, 'qed', '-b', "$work/i/secret.raw", '-F', 'raw'],
	['vmdk', qr/child\.vmdk/, 'vmdk', '-b', "$work/i/child.vmdk", '-F', 'vmdk'],
);
subtest 'an image that refers to others' => sub {
	for my $one (@images) {
		my ($what, $why, $format, @more) = @$one;
		my $path = "$work/i/base.$format";
		image($format, @more, $path);
		vmconf_fails(1, qr/base image \S+ refers to another file, \S+$why: .*--trust-image/, 'create', 'bad', '--image', $path);
		ok(!definition('bad') && !-e "$state/bad", 'nothing is made');
		vmconf_does('create', 'trusted', '--image', $path, '--trust-image');
		vmconf_does('delete', 'trusted');
	}
	for my $path ("$work/i/text.vmdk", "$work/i/data.qcow2") {
		my $other = $path =~ /vmdk/ ? 'text-f001.vmdk' : 'data.raw';
		vmconf_fails(1, qr/refers to another file, \S+\/\Q$other\E/, 'create', 'bad', '--image', $path);
	}
	spew("$work/i/nested.qcow2", slurp("$work/i/deep.qcow2"));
	my $err = vmconf_fails(1, qr/refers to another file, \S+plain\.qcow2/, 'create', 'bad', '--image', "$work/i/nested.qcow2");
	like($err, qr/refers to another file, \Q$a\E/, 'all of the chain');
	vmconf_fails(1, qr/not known what base image \S+ refers to: .*"fat:\/x"/, 'create', 'bad', '--image', "$work/i/fat.qcow2")
		if image('qcow2', '-u', '-b', 'fat:/x', '-F', 'raw', "$work/i/fat.qcow2", '1M') || 1;
	like(slurp("$work/i/secret.raw"), qr/^secret/, 'and nothing is written');
	vmconf_fails(64, qr/--trust-image is about --image/, 'create', 'bad', '--trust-image');
};

# Neither `vmconf start` nor the supervisor starts it, and check tells.
sub refused {
	my ($name, $why) = @_;
	vmconf_fails(1, $why, 'start', $name);
	vmconf_fails(78, $why, 'check', $name);
	my $s = supervise(vm => $name);
	$s->ends_with(78, $why, 'the supervisor says so, too');
	unlike($s->log, qr/QEMU runs/, 'there was no QEMU');
}

subtest 'a base image that is replaced' => sub {
	my $base = "$state/images/debian.raw";
	image('raw', $base, '1M');
	vmconf_does('create', 'web', quick('--image', 'debian'));
	my $record = definition('web')->{disks}[0]{'based-on'};
	is($record->[0]{path}, $base, 'what it is based on is in the definition');
	is($record->[0]{inode}, (stat $base)[1], 'with its inode');
	is(vmconf_does('check', 'web'), '', 'check says nothing');
	vmconf_does('start', 'web');
	vmconf_does('stop', 'web');
	vmconf_does('clone', 'web', 'linked', '--linked');
	is_deeply([map { $_->{path} } @{ definition('linked')->{disks}[0]{'based-on'} }], ["$state/web/root.qcow2", $base], 'a linked clone has two');
	vmconf_does('clone', 'web', 'whole');
	ok(!definition('whole')->{disks}[0]{'based-on'}, 'a whole one has none');
	vmconf_does('delete', 'whole');

	my $since = qr/web cannot be started: its disk disks\[0\] is based on \Q$base\E, which was replaced or written to since; .*vmconf set web disks\.0\.based-on=/;
	my ($atime, $mtime) = (stat $base)[8, 9];
	rename($base, "$base.old");
	image('raw', $base, '1M');
	utime($atime, $mtime, $base, "$base.old");
	refused('web', $since);
	vmconf_fails(1, qr/web cannot be cloned: .*was replaced/, 'clone', 'web', 'bad');
	rename($base, "$base.new");
	vmconf_fails(78, qr/is based on \Q$base\E, which does not exist/, 'check', 'web');
	# The one that it was, which was written to.
	rename("$base.old", $base);
	refused('web', $since);
	refused('linked', qr/linked cannot be started: .*\Q$base\E, which was replaced/);
	vmconf_does('delete', 'linked');
	vmconf_does('set', 'web', 'disks.0.based-on=');
	is(vmconf_does('check', 'web'), '', 'it can be forgotten');
	vmconf_does('start', 'web');
	vmconf_does('stop', 'web');
	vmconf_does('delete', 'web');
};

subtest 'an image that refers to something else by now' => sub {
	image('raw', "$state/images/good.raw", '1M');
	vmconf_does('create', 'web', quick('--image', 'good'));
	img('rebase', '-u', '-b', "$work/i/secret.raw", '-F', 'raw', "$state/web/root.qcow2");
	refused('web', qr/its disk disks\[0\] is no longer based on \S+good\.raw/);
	image('qcow2', '-b', "$state/images/good.raw", '-F', 'raw', "$work/i/middle.qcow2");
	img('rebase', '-u', '-b', "$work/i/middle.qcow2", '-F', 'qcow2', "$state/web/root.qcow2");
	refused('web', qr/refers to \S+middle\.qcow2, which it did not when it was made/);
	img('rebase', '-u', '-b', "$state/images/good.raw", '-F', 'raw', "$state/web/root.qcow2");
	image('qcow2', '-b', "$state/web/root.qcow2", '-F', 'qcow2', "$state/web/snapshot.qcow2");
	vmconf_does('set', 'web', 'disks.0.path=snapshot.qcow2');
	is(vmconf_does('check', 'web'), '', 'a snapshot of its own on top is');
	vmconf_does('delete', 'web');
};

subtest 'what an image says is not opened with root\'s rights' => sub {
	plan skip_all => 'only root can become another user' if $> != 0;
	image('raw', "$work/i/for-root.raw", '1M');
	chmod(0600, "$work/i/for-root.raw");
	image('qcow2', '-b', "$work/i/for-root.raw", '-F', 'raw', "$work/i/broken-out.qcow2");
	my %vm = ('run-as' => 'nobody', emulator => 'qemu-system-x86_64', args => ['-S'], memory => '64M');
	defined_as('out', %vm, disk(path => "$work/i/broken-out.qcow2"));
	my $s = supervise(vm => 'out');
	$s->ends_with(78, qr/out cannot be started: the image of its disk \S+broken-out\.qcow2 refers to \S+for-root\.raw, which nobody \(run-as\) must not open/,
		'a base that only root may read');
	img('rebase', '-u', '-b', '/etc/passwd', '-F', 'raw', "$work/i/broken-out.qcow2");
	chmod(0755, $work);
	chown((getpwnam('nobody'))[2, 3], "$work/i/broken-out.qcow2", "$work/i/empty.qcow2", "$work/i/for-root.raw");
	$s = supervise(vm => 'out');
	$s->wait_log(qr/QEMU runs/);
	vmconf_does('stop', 'out');
	$s->end;
	defined_as('out', %vm, disk(path => "$work/i/empty.qcow2", backing => { driver => 'raw', file => file('for-root.raw') }));
	$s = supervise(vm => 'out');
	$s->wait_log(qr/QEMU runs/);
	vmconf_does('stop', 'out');
	$s->end;
	gone('out');
};

# ---- the base of a linked clone ----
subtest 'the base of a linked clone' => sub {
	vmconf_does('create', 'base', quick('--disk', '1M'));
	my (undef, undef, $err) = vmconf('clone', 'base', 'linked', '--linked');
	like($err, qr/the disks of base are now what those of linked are based on: base is not started any more/, 'clone tells');
	my $before = (stat "$state/base/root.qcow2")[9];
	refused('base', qr/base must not be started: its disk \S+\/base\/root\.qcow2 is what a disk of linked is based on/);
	my $s = supervise(command => ['qemu-system-x86_64', '-nodefaults', '-S', '-machine', 'none', '-display', 'none', '-drive',
		"if=none,format=qcow2,file=$state/base/root.qcow2"]);
	$s->ends_with(78, qr/must not be started: its disk \S+\/base\/root\.qcow2 is what a disk of linked/, 'a command line, too');
	is((stat "$state/base/root.qcow2")[9], $before, 'nothing was written');
	# One that cannot be read keeps no other one down, but is told of.
	spew("$config/broken.json", '{');
	defined_as('odd', disk(format => 'nonsense', file => file('plain.qcow2')));
	$s = supervise(vm => 'linked');
	$s->wait_log(qr/QEMU runs/);
	like($s->log, qr/broken: its definition cannot be read: what its disks are based on is not known/, 'a broken definition is told of');
	like($s->log, qr/odd: disks\[0\]: the driver nonsense is not known here: what its disks are based on is not known/, 'and so is a driver');
	vmconf_does('stop', 'linked');
	$s->end;
	gone('broken', 'odd');
	vmconf_does('set', 'base', 'disks.0.read-only=true');
	is(vmconf_does('check', 'base'), '', 'read-only, it may be started');
	rename("$state/linked/root.qcow2", "$work/i/elsewhere");
	vmconf_fails(1, qr/base cannot be deleted: its disk \S+ is what a disk of linked is based on/, 'delete', 'base');
	vmconf_does('delete', 'linked', 'base');
};

vmconf_does('delete', 'a');
done_testing;
