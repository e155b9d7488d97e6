#!/usr/bin/perl
# Definitions of VMs: what QEMU is started with for each key, and what is said about each mistake.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;
use Definitions;
use POSIX qw(mkfifo);

my $program = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
my $config = "$work/config";
my $state = "$work/state";
mkdir $config;
local $ENV{QEMU_SUPERVISE_CONFIG_DIR} = $config;
local $ENV{QEMU_SUPERVISE_STATE_DIR} = $state;

sub define {
	my ($text, $name) = @_;
	return spew("$config/" . ($name || 'web') . '.json', $text);
}

sub printed {
	my (@options) = @_;
	return run_command('timeout', '-s', 'KILL', '20', $program, '--print', @options, 'web');
}

# The words of QEMU's command line, joined by newlines, as a shell reads them.
sub words {
	my ($out) = @_;
	my ($line) = $out =~ /\n\n(.*)\n\z/s;
	return (run_command('sh', '-c', "printf '%s\\n' $line"))[1];
}

sub refused {
	my ($words, $what) = @_;
	my ($status, $out, $err) = printed();
	my @lines = grep { !/^see [\w', ]+ in vmconf\(5\)$/ } $err =~ /^qemu-supervise: (.*)$/mg;
	is($status, 78, "$what: status 78");
	is($out, '', "$what: nothing on stdout");
	ok((grep { s/^\Q$config\E\/web\.json: //r =~ $words } @lines), "$what: said") or diag($err);
	return @lines;
}

subtest 'good ones' => sub {
	for my $row (@good) {
		my ($text, $expected) = @$row;
		define($text);
		my ($status, $out, $err) = printed();
		is("$status$err", '0', $text);
		my $got = words($out) =~ s/\bweb\b/NAME/gr =~ s/\Q$state\E\/NAME/HOME/gr;
		like($got, $expected, "$text: command line");
	}
	ok(!-e $state, '--print makes nothing');
};

subtest 'bad ones' => sub {
	for my $row (@bad) {
		my ($text, $expected, undef, $count) = @$row;
		define($text);
		my @lines = refused($expected, $text);
		is(scalar @lines, $count || 1, "$text: lines") or diag(@lines);
	}
};

# The section of the page that describes a key is named, once.
subtest 'where to read more' => sub {
	my ($keys) = slurp("$top/man/vmconf.5") =~ /^\.Sh KEYS\n(.*?)(?=^\.Sh )/ms;
	my %section = $keys =~ /^\.Ss ([^\n]+)\n(.*?)(?=^\.Ss |\z)/gms;
	for my $section (sort keys %section) {
		my $depth = 0;	# 1, unless it is a key of a disk, a nic or a group
		for my $line (split /\n/, $section{$section}) {
			$depth += $line =~ /^\.Bl / ? 1 : $line eq '.El' ? -1 : 0;
			my ($key) = $line =~ /^\.It Cm ([-a-z]+) / or next;
			next if $depth > 1;
			define("{\"$key\": [[]]}");
			is_deeply([(printed())[2] =~ /^qemu-supervise: (see .* in vmconf.*)$/mg], ["see $section in vmconf(5)"], $key);
		}
	}
	define('{"memroy": 1, "nics": {}, "cpus": 0, "disks": {}, "memory": []}');
	is_deeply([(printed())[2] =~ /^qemu-supervise: (see .*)$/mg], ['see KEYS, The machine, Disks, Network in vmconf(5)'], 'several');
	define('{');
	unlike((printed())[2], qr/: see /, 'not where no key is at fault');
};

# What is offered instead is a definition itself.
subtest 'keys of other programs' => sub {
	my @keys = slurp("$top/vm/otherkeys.c") =~ /^\t\{"([-a-z]+)", /mg;
	my %known = map { $_ => 1 } @keys;
	is_deeply([grep { !$known{$_} } qw(share swtpm passt boot vga usb hugepages panic snapshot ports)], [], 'there are hints');
	for my $key (@keys) {
		define("{\"$key\": 1}");
		my ($line) = refused(qr/^$key: unknown key; \S/, $key);
		my ($instead) = $line =~ /; write (.*) instead/ or next;
		for my $text (split /, or (?=")/, $instead) {
			define("{$text}");
			my ($status, undef, $err) = printed();
			is("$status$err", '0', "{$text}");
		}
	}
	define('{"Volumes": 1}');
	refused(qr/^Volumes: unknown key; write "shares"/, 'in capitals');
};

subtest 'every problem in one go' => sub {
	define('{"cpus": 0, "memroy": "1G", "disks": [{"format": "raw"}, 5], "on": {"HUP": "rest", "INT": 5}, "agent": 1}');
	my @lines = refused(qr/^cpus: /, 'seven');
	is(scalar @lines, 7, 'seven problems');
	is(scalar(grep { /^\Q$config\E\/web\.json: \S+: \S/ } @lines), 7, 'each with file and key path');
};

subtest 'the identity of a VM' => sub {
	my %seen;
	for my $name ('web', 'web', 'web2') {
		define('{"nics": [{"type": "user"}, {"type": "user"}]}', $name);
		my ($status, $out) = run_command($program, '--print', $name);
		my ($uuid) = $out =~ /-uuid (\S+)/;
		my @macs = $out =~ /"mac":"(\S+?)"/g;
		like($uuid, qr/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, 'a UUID of version 8');
		$seen{$_}{$name}++ for $uuid, @macs;
	}
	is_deeply([sort { $a cmp $b } map { join ' ', %$_ } values %seen], ['web 2', 'web 2', 'web 2', 'web2 1', 'web2 1', 'web2 1'],
		'the same for one name, another one for each nic and each other name');
};

subtest 'policy' => sub {
	my $row = sub {
		my ($trigger, @options) = @_;
		my (undef, $out) = printed(@options);
		return $out =~ /^$trigger +(.*)$/m ? $1 : '';
	};
	define('{"on": {"TERM": "agent-shutdown 5s, powerdown 90s, kill", "HUP": "status", "GUEST_PANICKED": "reset"}}');
	is($row->('TERM'), 'agent-shutdown 5s, powerdown 90s, kill', 'of the definition');
	is($row->('GUEST_PANICKED'), 'reset', 'and an event');
	is($row->('INT'), 'powerdown 180s, agent-shutdown 30s, quit 10s, kill', 'the default elsewhere');
	is($row->('TERM', '-t', '7'), 'agent-shutdown 5s, powerdown 7s, kill', '-t counts more');
	is($row->('TERM', '-t', '7', '-o', 'TERM=powerdown 8s, kill'), 'powerdown 8s, kill', '-o counts more than that');
	is($row->('TERM', '-o', 'TERM=powerdown 8s, kill', '-t', '7'), 'powerdown 8s, kill', 'in any order');
	define('{"on": {"GUEST_PANICED": "reset"}}');
	my ($status, undef, $err) = printed();
	is($status, 0, 'an event that is not known is taken');
	like($err, qr/\A[^\n]*web\.json: on\.GUEST_PANICED: [^\n]*"GUEST_PANICKED"[^\n]*\n\z/, 'with a warning');
};

subtest 'run-as' => sub {
	define('{"run-as": "vm-web"}');
	my @said = printed();
	SKIP: {
		skip 'needs root', 2 if $> != 0;
		is("$said[0]$said[2]", '0', 'root may say it');
		like(words($said[1]), qr/,elevateprivileges=deny,/, 'and QEMU need not do it');
		chmod(0755, $work);
		@said = run_command('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', $program, '--print', 'web');
	}
	is($said[0], 78, 'nobody else may: status 78');
	like($said[2], qr/web\.json: run-as: found "vm-web", expected none: only root can become another user$/, 'and why');
};

subtest 'the command line' => sub {
	define('{}', 'web');
	define('{}', 'mail');
	my @said = run_command($program, 'wbe');
	is($said[0], 78, 'no such VM: status 78');
	is($said[2], "qemu-supervise: $config/wbe.json: there is no such file, so there is no VM \"wbe\"; did you mean \"web\"?\n",
		'it says which file, and which VM is near');
	@said = run_command($program, 'no-such-thing');
	like($said[2], qr/there is no VM "no-such-thing"$/, 'none is near');
	@said = run_command($program, '-n', 'x', 'web');
	is($said[0], 64, '--name with a VM: status 64');
	like($said[2], qr/--name x: the VM web has its name from its definition/, 'and why');
	my $no_name = qr/"\S+" cannot be the name of a VM: /;
	for (['web mail', qr/"mail" after the VM web: /], ['web -t 3', qr/"-t" after the VM web: options go before its name/],
		['web --', qr/"--" after the VM web: /], ['../web', $no_name], ['.web', $no_name], ['x' x 65, $no_name],
		['qemu-system-x86_64 -m 1G', qr/qemu-system-x86_64: a QEMU command line goes after "--": /]) {
		my ($args, $why) = @$_;
		@said = run_command($program, split ' ', $args);
		is($said[0], 64, "$args: status 64");
		like($said[2], $why, "$args: said");
	}
	ok(!-e $state && !-e "$work/run", 'nothing was made');
};

# ---- files ----

subtest 'what is no JSON' => sub {
	my %texts = (
		'an empty file' => ['', qr/^found an empty file, expected a JSON object$/],
		'no JSON' => ['memory = 2G', qr/^line 1, column \d+: /],
		'a trailing comma' => ["{\n\"cpus\": 1,\n}", qr/^line 3, column \d+: /],
		'more behind it' => ['{} {}', qr/^line 1, column \d+: end of file expected/],
		'a duplicate key' => ['{"cpus": 1, "cpus": 2}', qr/^line 1, column \d+: duplicate object key/],
		'invalid UTF-8' => ["{\"description\": \"\xff\"}", qr/^line 1, column \d+: unable to decode byte 0xff/],
		'a NUL' => ['{"description": "\u0000"}', qr/^line 1, column \d+: \\u0000 is not allowed/],
		'10,000 deep' => ['{"args": ' . ('[' x 10000) . (']' x 10000) . '}', qr/^line 1, column \d+: maximum parsing depth reached/],
		'2,000 deep' => ['{"args": ' . ('[' x 2000) . (']' x 2000) . '}', qr/^args\[0\]: found a list, expected a string$/],
		'escape sequences' => ["{\e]0;pwned\a", qr/^line 1, column \d+: [^\e\a]*$/],
		'just over 1 MiB' => ['{"description": "' . ('x' x (1 << 20)) . '"}', qr/^found \d+ bytes, expected 1 MiB at most$/]
	);
	for my $what (sort keys %texts) {
		define($texts{$what}[0]);
		is(scalar(refused($texts{$what}[1], $what)), 1, "$what: one line");
	}
	define('{"description": "' . ('x' x ((1 << 20) - 19)) . '"}');
	is((printed())[0], 0, 'just 1 MiB is fine');
	truncate("$config/web.json", 200 << 20);
	refused(qr/^found 209715200 bytes, expected 1 MiB at most$/, '200 MB');
};

subtest 'what is no file' => sub {
	my $file = "$config/web.json";
	unlink $file;
	mkdir $file;
	refused(qr/^found a directory, expected a file$/, 'a directory');
	rmdir $file;
	mkfifo($file, 0644);
	refused(qr/^found a FIFO, expected a file$/, 'a FIFO, which does not block');
	unlink $file;
	symlink('/dev/zero', $file);
	refused(qr{^found a symbolic link to /dev/zero, expected one to a file in }, 'a device');
	unlink $file;
	symlink('nowhere', $file);
	refused(qr/^found a symbolic link that leads nowhere/, 'a link to nothing');
	unlink $file;
	symlink('web.json', $file);
	refused(qr/^found a symbolic link that leads nowhere|Too many levels/, 'a link to itself');
	unlink $file;
	spew("$work/elsewhere.json", '{}');
	symlink('../elsewhere.json', $file);
	refused(qr{^found a symbolic link to /.*/elsewhere.json, expected one to a file in /.*/config$}, 'a link out of the tree');
	unlink $file;
	mkdir "$work/config-2";
	spew("$work/config-2/web.json", '{}');
	symlink('../config-2/web.json', $file);
	refused(qr{^found a symbolic link to /.*/config-2/web.json, expected}, 'a link to a tree whose name begins the same');
	unlink $file;
	mkdir "$config/shared";
	spew("$config/shared/common.json", '{}');
	symlink('shared/common.json', $file);
	is((printed())[0], 0, 'a link into the tree is fine');
	unlink $file;
	symlink("$config/shared/common.json", $file);
	is((printed())[0], 0, 'an absolute one, too');
	unlink $file;
};

subtest 'who may write it' => sub {
	my $file = define('{}');
	for my $mode (0664, 0646, 0666, 0777) {
		chmod($mode, $file);
		refused(qr/^found a file with mode \d+, expected one that only its owner may write: chmod go-w \Q$file\E$/, sprintf('mode %04o', $mode));
	}
	chmod(0644, $file);
	for my $mode (0775, 0777, 01777) {
		chmod($mode, $config);
		refused(qr/^found it in a directory with mode \d+, expected one that only its owner may write: chmod go-w \Q$config\E$/,
			sprintf('directory of mode %04o', $mode));
	}
	chmod(0755, $config);
	chmod(0600, $file);
	is((printed())[0], 0, 'mode 0600 is fine');
	SKIP: {
		skip 'needs root', 6 if $> != 0;
		chown(12345, -1, $file);
		refused(qr/^found a file of uid 12345, expected one of ours \(0\) or root's$/, 'somebody else\'s file');
		chown(0, -1, $file);
		chown(12345, -1, $config);
		refused(qr/^found it in a directory of uid 12345, expected one of ours/, 'somebody else\'s directory');
		chown(0, -1, $config);
	}
};

done_testing;
