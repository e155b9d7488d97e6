#!/usr/bin/perl
# vmconf set, edit, clone, rename, delete: what they change, what they refuse, and that it is nothing then.
use strict;
use warnings;
use File::Basename qw(dirname);
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-img');

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};

mkdir($ENV{TMPDIR} = "$work/tmp");

sub editor {
	my ($script) = @_;
	spew("$work/editor", "#!/bin/sh\n$script\n");
	chmod 0755, "$work/editor";
	$ENV{EDITOR} = "$work/editor";
	delete $ENV{VISUAL};
}

vmconf_does('create', 'web1', quick('--disk', '64M', '--nic', 'user'));
my ($uuid, $mac) = (definition('web1')->{uuid}, definition('web1')->{nics}[0]{mac});

# ---- set ----
vmconf_does('set', 'web1', 'cpus=4', 'description=a web server', 'on.TERM=quit 1s, kill', 'nics.1={"type": "user"}',
	'disks.0.discard=unmap');
my $vm = definition('web1');
is($vm->{cpus}, 4, 'a number');
is($vm->{description}, 'a web server', 'a string');
is_deeply($vm->{on}, { TERM => 'quit 1s, kill' }, 'a path makes what is missing');
is_deeply($vm->{nics}[1], { type => 'user' }, 'a list is added to');
is($vm->{disks}[0]{discard}, 'unmap', 'a path through a list');
is((stat "$config/web1.json")[2] & 0777, 0600, 'the mode stays');
vmconf_does('set', 'web1', 'nics.1=', 'cpus=', 'on=');
$vm = definition('web1');
is(@{ $vm->{nics} }, 1, 'KEY= removes from a list');
ok(!exists $vm->{cpus}, 'KEY= removes a key');

my $before = slurp("$config/web1.json");
vmconf_fails(78, qr/web1\.json: cpus: found "many".*\nvmconf: see The machine in vmconf\(5\)\n.*web1 was not changed/, 'set', 'web1', 'cpus=many');
vmconf_fails(78, qr/web1\.json: .*memroy/, 'set', 'web1', 'memory=1G', 'memroy=2G');
vmconf_fails(64, qr/nics\.7=\{\}: found "7" in a list of 1, expected a number from 0 to 1, which adds one$/m, 'set', 'web1', 'nics.7={}');
vmconf_fails(64, qr/: not UTF-8$/m, 'set', 'web1', "description=\xff");
vmconf_fails(64, qr/description\.x=1: there is no place for "x" in what is neither a list nor an object$/m, 'set', 'web1', 'description.x=1');
vmconf_fails(64, qr/not of the form KEY=VALUE/, 'set', 'web1', '=x');
is(slurp("$config/web1.json"), $before, 'what is refused changes nothing');
for my $none ('cdrom=', 'disks.7=', 'on.TERM.x=', 'nics.0.properties.mq=') {
	is_deeply([vmconf('set', 'web1', $none)], [0, '', "vmconf: $none: there is nothing to remove\n"], "$none of what is not there is a success");
}
is(slurp("$config/web1.json"), $before, 'which changes nothing');
vmconf_does('set', 'web1', 'cdrom=', 'description=and the rest');
is(definition('web1')->{description}, 'and the rest', 'nor does it keep what else is set from being done');
spew("$config/web1.json", $before);

# ---- edit ----
editor('sed -i "s/a web server/another one/" "$1"');
vmconf_does('edit', 'web1');
is(definition('web1')->{description}, 'another one', 'edited');
$before = slurp("$config/web1.json");
editor('true');
my ($status, undef, $err) = vmconf('edit', 'web1');
is($status, 0, 'not changed');
like($err, qr/web1 is unchanged/, 'and it says so');
editor('echo rubbish >"$1~"; exit 3');
vmconf_fails(1, qr/the editor \(.*\) failed; web1 is as it was/, 'edit', 'web1');
editor('echo "{" >"$1"');
$err = vmconf_fails(78, qr/what you have written is in (\S+)/, 'edit', 'web1');
my ($copy) = $err =~ /what you have written is in (\S+)/;
is(slurp($copy), "{\n", 'a wrong one is kept for the user');
system('rm', '-r', dirname($copy));
editor("$FindBin::Bin/../vmconf set web1 cpus=7; echo '{}' >\"\$1\"");
$err = vmconf_fails(1, qr/somebody else has changed the definition of web1 meanwhile/, 'edit', 'web1');
($copy) = $err =~ /what you have written is in (\S+)/;
is(slurp($copy), "{}\n", 'then, too');
system('rm', '-r', dirname($copy));
is(definition('web1')->{cpus}, 7, 'and that change stays');
vmconf_does('set', 'web1', 'cpus=');
is(slurp("$config/web1.json"), $before, 'nothing else has changed');
editor('printf "{\n    \"memory\": \"64M\"   }\n" >"$1"');
vmconf_does('create', 'spaces', '--nic', 'none');
vmconf_does('edit', 'spaces');
is(slurp("$config/spaces.json"), qq({\n    "memory": "64M"   }\n), 'spaces are as they were written');
spew("$config/spaces.json", '{ broken');
vmconf_fails(78, qr/not a JSON object: put it right with "vmconf edit spaces"/, 'set', 'spaces', 'cpus=1');
editor('grep -q broken "$1" && echo "{\"cpus\": 1}" >"$1"');
vmconf_does('edit', 'spaces');
is(definition('spaces')->{cpus}, 1, 'a broken definition can be edited');
mkdir("$config/unread.json");
vmconf_fails(1, qr/^vmconf: cannot read the definition \S+unread\.json: /m, 'edit', 'unread');
rmdir("$config/unread.json");
is_deeply([glob "$work/tmp/*"], [], 'nothing is left of it all');

# Without a word from the user, the first that there is.
mkdir "$work/path";
symlink((grep { -x } map { "$_/sh" } '/bin', '/usr/bin')[0], "$work/path/sh");
{
	delete local @ENV{qw(VISUAL EDITOR)};
	local $ENV{PATH} = "$work/path";
	vmconf_fails(1, qr/there is no editor \(sensible-editor, editor, nano, vi\): name one in EDITOR/, 'edit', 'spaces');
	for my $editor (qw(vi nano editor sensible-editor)) {
		spew("$work/path/$editor", "#!/bin/sh\necho '{\"description\": \"$editor\"}' >\"\$1\"\n");
		chmod 0755, "$work/path/$editor";
		vmconf_does('edit', 'spaces');
		is(definition('spaces')->{description}, $editor, "$editor is taken");
	}
}
is_deeply([glob "$work/tmp/*"], [], 'and nothing is left');

SKIP: {
	skip('perl has no IO::Pty', 1) if !eval { require IO::Pty };
	# On a terminal it is offered again; the second time it is good.
	my %answers = ("\n" => 2, "y\n" => 2, "  Yes\n" => 2, "n\n" => 1, " never\n" => 1, "\x04" => 1);
	editor('n=$(cat ' . $work . '/n 2>/dev/null); echo "x$n" >' . $work . '/n; [ -n "$n" ] && echo "{\"cpus\": 2}" >"$1" || echo "{" >"$1"');
	for my $answer (sort keys %answers) {
		unlink("$work/n");
		spew("$config/spaces.json", '{"cpus": 1}');
		my $pty = IO::Pty->new;
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			$pty->make_slave_controlling_terminal;
			my $slave = $pty->slave;
			open(STDIN, '<&', $slave) && open(STDOUT, '>&', $slave) && open(STDERR, '>&', $slave);
			exec($ENV{T_VMCONF} || "$top/vmconf", 'edit', 'spaces') or POSIX::_exit(127);
		}
		my $screen = '';
		$pty->blocking(0);
		wait_until('the question', sub { sysread($pty, $screen, 4096, length $screen); $screen =~ /Edit it again\? \[Y\/n\] / });
		syswrite($pty, $answer);
		wait_until('the end', sub { sysread($pty, $screen, 4096, length $screen); waitpid($pid, POSIX::WNOHANG()) == $pid });
		my $what = $answer =~ s/\n|\x04/ /gr;
		is($? >> 8, $answers{$answer} == 2 ? 0 : 78, "answer \"$what\": " . ($answers{$answer} == 2 ? 'edited again' : 'not edited again'));
		is(definition('spaces')->{cpus}, $answers{$answer}, 'and saved if it is good');
		like($screen, qr/spaces[^\n]*\.json: /, 'what was wrong was told');
	}
}

# ---- clone ----
mkdir "$state/web1/boot";
spew("$state/web1/boot/vmlinuz", 'kernel');
spew("$state/web1/uefi-vars.fd", 'variables');
vmconf_does('set', 'web1', 'kernel=boot/vmlinuz', 'cdrom=/dev/null');
run_command('qemu-io', '-c', 'write -P 7 0 64k', "$state/web1/root.qcow2");
vmconf_does('clone', 'web1', 'web2');
my $clone = definition('web2');
isnt($clone->{uuid}, $uuid, 'a clone has a UUID of its own');
isnt($clone->{nics}[0]{mac}, $mac, 'and a MAC');
is($clone->{description}, 'another one', 'and all else');
is($clone->{cdrom}, '/dev/null', 'what is elsewhere is shared');
is(slurp("$state/web2/boot/vmlinuz"), 'kernel', 'its own files are copied, below the directory too');
is(slurp("$state/web2/uefi-vars.fd"), 'variables', 'what its firmware remembers is, too');
is((run_command('qemu-img', 'compare', "$state/web1/root.qcow2", "$state/web2/root.qcow2"))[0], 0, 'the disk is copied');
is(vmconf_does('check'), '', 'check says nothing');
vmconf_fails(1, qr/a VM web2 already exists/, 'clone', 'web1', 'web2');
vmconf_fails(1, qr/a VM web1 already exists/, 'clone', 'web1', 'web1');

# A disk outside comes along.
run_command('qemu-img', 'create', '-q', '-f', 'raw', "$work/data, one.raw", '1M');
vmconf_does('set', 'web2', qq(disks.1={"path": "$work/data, one.raw", "format": "raw"}));
vmconf_does('clone', 'web2', 'web3');
is(definition('web3')->{disks}[1]{path}, 'data, one.raw', 'a disk outside comes into the clone\'s directory');
ok(-e "$state/web3/data, one.raw", 'and is there');

# ---- rename ----
vmconf_does('rename', 'web1', 'server');
my $renamed = definition('server');
is($renamed->{uuid}, $uuid, 'a rename changes no UUID');
is($renamed->{nics}[0]{mac}, $mac, 'and no MAC');
ok(!definition('web1') && !-e "$state/web1", 'the old one is gone');
ok(-e "$state/server/root.qcow2", 'the disk is there');
is(vmconf_does('check'), '', 'check says nothing');
spew("$config/hand.json", '{"nics": [{"type": "user"}], "accel": "tcg"}');
my ($of_name) = vmconf_does('command', 'hand') =~ /mac['":= ]+([0-9a-f:]{17})/;
my ($uuid_of_name) = vmconf_does('command', 'hand') =~ /([0-9a-f]{8}-[0-9a-f-]{27})/;
vmconf_does('rename', 'hand', 'foot');
is(definition('foot')->{nics}[0]{mac}, $of_name, 'a MAC that was made of the name stays too');
is(definition('foot')->{uuid}, $uuid_of_name, 'and a UUID');
mkdir "$state/taken";
spew("$state/taken/x", '');
vmconf_fails(1, qr/taken already exists, but there is no VM taken/, 'rename', 'server', 'taken');
vmconf_fails(1, qr/cannot be renamed: a VM web2 already exists/, 'rename', 'server', 'web2');
ok(definition('server') && -e "$state/server/root.qcow2", 'and nothing is renamed then');

# ---- delete ----
vmconf_does('clone', 'server', 'linked', '--linked');
my $of_base = qr/^vmconf: server must not be started: its disk \S+\/server\/root\.qcow2 is what a disk of linked is based on \(\S+\/linked\/root\.qcow2\)/m;
for my $words (['check'], ['check', 'server']) {
	is(() = vmconf_fails(78, $of_base, @$words) =~ /^vmconf: /mg, 1, 'once');
}
is(vmconf_does('check', 'linked'), '', 'check says nothing of an overlay');
vmconf_fails(1, $of_base, 'start', 'server');
vmconf_does('set', 'server', 'disks.0.read-only=true');
is(vmconf_does('check'), '', 'and nothing of a disk that nobody writes to');
vmconf_does('set', 'server', 'disks.0.read-only=');
for my $refused (['deleted', 'delete', 'server'], ['renamed', 'rename', 'server', 'web1']) {
	my ($done, @words) = @$refused;
	vmconf_fails(1, qr/server cannot be $done: its disk \S+root\.qcow2 is what a disk of linked is based on/, @words);
}
vmconf_fails(1, qr/server cannot be deleted/, 'delete', 'foot', 'server');
ok(definition('foot') && definition('server'), 'one that cannot go keeps the others too');
run_command('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', "$state/linked/root.qcow2", '-F', 'qcow2', "$work/between.qcow2");
run_command('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'between.qcow2', '-F', 'qcow2', "$work/top.qcow2");
spew("$config/far.json", qq({"disks": [{"path": "$work/top.qcow2", "format": "qcow2"}], "nonsense": 1}));
vmconf_fails(1, qr/linked cannot be deleted: .*a disk of far is based on/, 'delete', 'linked', 'server');
# What a definition says that cannot be read, nobody knows; what was made for its VM is known all the same.
my $good = slurp("$config/linked.json");
spew("$config/linked.json", '{"disks": [{"path": "root.qcow2", "format": "qcow2"},]}');
spew("$config/unclear.json", '{');
for my $refused (['deleted', 'delete', 'server'], ['renamed', 'rename', 'server', 'web1']) {
	my ($done, @words) = @$refused;
	my $err = vmconf_fails(1, qr/server cannot be $done: its disk \S+root\.qcow2 is what a disk of linked is based on/, @words);
	like($err, qr/server cannot be $done: \S+\/unclear\.json cannot be read, .* mend it/, 'the file to mend is named');
}
ok(definition('server') && -e "$state/server/root.qcow2", 'the base of a VM whose definition is broken stays');
unlink("$config/unclear.json");
spew("$config/linked.json", $good);
vmconf_does('set', 'linked', 'disks=[]');
vmconf_fails(1, qr/server cannot be deleted: .*a disk of linked is based on/, 'delete', 'server', 'far');
spew("$config/linked.json", $good);
vmconf_does('delete', 'server', 'far', 'linked');
ok(!-e "$state/server/root.qcow2" && !-e "$state/linked", 'all of them in one go, in any order');
ok(-e "$work/top.qcow2", 'a disk that vmconf has not made stays');
is(slurp("$state/server/boot/vmlinuz"), 'kernel', 'and so does a file of the user in the directory');
($status, undef, $err) = vmconf('delete', 'web2', 'web2');
is($status, 0, 'the same one twice is one');
unlike($err, qr/left in/, 'the clone\'s files were made by vmconf');
ok(!-e "$state/web2", 'its directory is gone');
ok(-e "$work/data, one.raw", 'the disk outside is not');
vmconf_does('delete', 'web3', '--keep-disks');
ok(!definition('web3') && -e "$state/web3/root.qcow2" && -e "$state/web3/data, one.raw", '--keep-disks keeps the disks');
ok(!-e "$state/web3/boot/vmlinuz" && !-e "$state/.web3.made.json", 'and nothing else');
vmconf_fails(1, qr/there is no VM web3/, 'delete', 'web3');

# Whatever the definition says of them, and however.
symlink($state, "$work/link");
my %odd = (
	syntax => sub { spew("$config/syntax.json", '{"disks": [{"path": "root.qcow2", "format": "qcow2"},]}') },
	dotted => sub { vmconf_does('set', 'dotted', 'disks.0.path=./root.qcow2') },
	linked => sub { vmconf_does('set', 'linked', "disks.0.path=$work/link/linked/root.qcow2") },
	detached => sub { vmconf_does('set', 'detached', 'disks=[]') },
	nothing => sub { unlink("$state/.nothing.made.json") or die },
	older => sub {	# a list where it was before, that does not tell disks from others
		unlink("$state/.older.made.json") or die;
		spew("$state/older/made.json", '{"version": 1, "files": ["root.qcow2", "uefi-vars.fd"]}');
		spew("$state/older/uefi-vars.fd", '');
	},
);
for my $name (sort keys %odd) {
	vmconf_does('create', $name, '--disk', '1M');
	$odd{$name}->();
	vmconf_does('delete', $name, '--keep-disks', $name eq 'syntax' ? '--force' : ());
	is(join(' ', glob "$state/$name/*"), "$state/$name/root.qcow2", "--keep-disks keeps the disk, and no more: $name");
}

# A list that leads elsewhere.
vmconf_does('create', 'evil', '--disk', '1M');
spew("$work/precious", 'x');
spew("$state/.evil.made.json", '{"files": ["root.qcow2", "../../precious", "/' . "$work" . '/precious", "a/../../../precious", 7]}');
vmconf_does('delete', 'evil');
is(slurp("$work/precious"), 'x', 'a list of files that leads elsewhere is not followed');

done_testing;
