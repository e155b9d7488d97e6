#!/usr/bin/perl
# defaults.json: what all definitions have unless they say otherwise.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use T;

need('qemu-system-x86_64', 'qemu-img');

my $config = $ENV{QEMU_SUPERVISE_CONFIG_DIR};
my $file = "$config/defaults.json";
my $supervise = $ENV{T_SUPERVISE} || "$top/qemu-supervise";

sub defaults { spew($file, ref $_[0] ? encode_json($_[0]) : $_[0]); chmod 0600, $file }

sub effective { return decode_json(vmconf_does('show', $_[0], '--effective')) }

sub refused {
	my ($line, $what) = @_;
	my ($status, $out, $err) = run_command($supervise, '--print', 'a');
	is($status, 78, "$what: the supervisor refuses the VM");
	like($err, $line, "$what: says why");
	vmconf_fails(78, $line, 'show', 'a');
	my $complaint = vmconf_fails(78, $line, 'check');
	is(scalar(() = $complaint =~ /^vmconf: .*defaults\.json/mg), 1, "$what: check says so once") or diag($complaint);
}

T::define('a', { accel => 'tcg', memory => '64M', cpus => 3, args => ['-S'], on => { TERM => 'quit 2s, kill' } });
T::define('b', { accel => 'tcg', args => ['-S'] });

subtest 'none, or nothing in it' => sub {
	my @plain = map { vmconf_does('show', $_), vmconf_does('command', $_) } 'a', 'b';
	for my $text ('', '{}', "\n{ }\n") {
		defaults($text);
		is_deeply([map { vmconf_does('show', $_), vmconf_does('command', $_) } 'a', 'b'], \@plain, "'$text' changes nothing");
		is_deeply(effective('a'), definition('a'), 'nothing is added');
		is(vmconf_does('check', 'a'), '', 'nothing is wrong');
	}
};

my %all = (memory => '128M', cpus => 2, tags => ['lab'], on => { TERM => 'quit 9s, kill', HUP => 'ignore' },
	nics => [{ type => 'user' }], 'press-interval' => '3s');

subtest 'what they add' => sub {
	defaults(\%all);
	is_deeply(decode_json(vmconf_does('show', 'a')), definition('a'), 'show prints the definition');
	my $a = effective('a');
	is_deeply($a, { %all, %{ definition('a') }, on => { TERM => 'quit 2s, kill', HUP => 'ignore' } }, 'show --effective both, and of "on" each row');
	like(vmconf_does('command', 'b'), qr/ -m '?(size=)?128M?\b/, 'vmconf command has it');
	my ($status, $print) = run_command($supervise, '--print', 'a');
	like($print, qr/^TERM +quit 2s, kill/m, 'the definition says otherwise');
	like($print, qr/^HUP +ignore/m, 'the defaults add a row');
	like($print, qr/"type":"user"/, 'and a nic');
	is(state_of('b')->{memory}, 128, 'list knows');
	is_deeply(state_of('b')->{tags}, ['lab'], 'tags, too');
	is(vmconf_does('check'), '', 'nothing is wrong');
};

subtest 'no VM' => sub {
	unlike(vmconf_does('list'), qr/defaults/, 'it is not listed');
	vmconf_fails(64, qr/"defaults" cannot be the name of a VM/, $_, 'defaults') for 'create', 'start', 'show';
	is((run_command($supervise, '--print', 'defaults'))[0], 64, 'the supervisor does not take it for one either');
};

subtest 'commands write only what is the VM\'s own' => sub {
	vmconf_does('create', 'c', '--disk', '1M', '--set', 'accel=tcg', '--set', 'args=["-S"]');
	is_deeply([sort keys %{ definition('c') }], [qw(accel agent args console-log disks pvpanic uuid)], 'create: no nic but that of the defaults');
	vmconf_does('set', 'c', 'description=new');
	is_deeply([sort keys %{ definition('c') }], [qw(accel agent args console-log description disks pvpanic uuid)], 'set');
	vmconf_does('clone', 'c', 'd');
	is_deeply([sort keys %{ definition('d') }], [qw(accel agent args console-log description disks pvpanic uuid)], 'clone');
	local $ENV{EDITOR} = 'sed -i s/new/newer/';
	delete local $ENV{VISUAL};
	vmconf_does('edit', 'd');
	is(definition('d')->{description}, 'newer', 'edit');
	ok(!definition('d')->{nics}, 'only that');
	my ($mac) = vmconf_does('command', 'd') =~ /(52:54:00(?::[0-9a-f]{2}){3})/;
	my ($other) = vmconf_does('command', 'c') =~ /(52:54:00(?::[0-9a-f]{2}){3})/;
	isnt($mac, $other, 'each VM has a MAC of its own');
	vmconf_does('rename', 'd', 'e');
	like(vmconf_does('command', 'e'), qr/$mac/, 'which it keeps if it is renamed');
	is(definition('e')->{nics}[0]{mac}, $mac, 'as its definition says then');
	defaults({ %all, pvpanic => JSON::PP::false, 'console-log' => JSON::PP::false });
	vmconf_does('create', 'f', '--nic', 'none');
	is_deeply(definition('f')->{nics}, [], 'create --nic');
	ok(!exists definition('f')->{$_}, "create leaves $_ to the defaults") for 'pvpanic', 'console-log';
	vmconf_does('delete', 'c', 'e', 'f');
};

subtest 'from the next start on' => sub {
	defaults(\%all);
	vmconf_does('start', 'b');
	defaults({ %all, memory => '256M' });
	is(state_of('b')->{memory}, 128, 'a VM that runs has what it was started with');
	vmconf_does('restart', 'b');
	is(state_of('b')->{memory}, 256, 'then it has the new');
};

subtest 'what is wrong in it' => sub {
	my $name = qr/^(vmconf|qemu-supervise[^\n]*): \Q$file\E/;
	my %wrong = (
		'{"memory": "x"}' => undef,	# which a says otherwise
		'{"tags": "x"}' => qr/$name: tags: found "x", expected a list/m,
		'{"memroy": "1G"}' => qr/$name: memroy: unknown key; did you mean "memory"\?/m,
		'{"on": {"HUP": "reset 1x"}}' => qr/$name: on\.HUP: /m,
		'{"nics": [{"br": "br0"}]}' => qr/$name: nics\[0\]\.type: missing/m,
		'{"nics": [{"type": "user", "mac": "52:54:00:12:34:56"}]}' => qr/$name: nics\[0\]\.mac: found, expected only in the definitions/m,
		(map { ("{\"$_\": \"x\"}" => qr/$name: $_: found, expected only in the definitions/m) } qw(uuid disks cdrom description)),
		'{"cpus": 1,}' => qr/$name: line 1, column \d+: /m,
		'{"cpus": 1, "cpus": 2}' => qr/$name: line 1, column \d+: duplicate object key/m,
		'[]' => qr/$name: found no object/m,
		' ' => qr/$name: line 1, column \d+: /m,
	);
	for my $text (sort keys %wrong) {
		defaults($text);
		refused($wrong{$text}, $text) if $wrong{$text};
		next if $wrong{$text};
		is((run_command($supervise, '--print', 'a'))[0], 0, 'a key that a definition has itself does not matter to it');
		like(vmconf_fails(78, qr/$name: memory: found "x"/m, 'check', 'a'), qr/defaults\.json/, 'but check names it');
	}
	defaults('{}');
	chmod 0666, $file;
	refused(qr/$name: found a file with mode 0666/m, 'writable by others');
	unlink $file;
	symlink('/etc/passwd', $file);
	refused(qr/$name: found a symbolic link/m, 'a link that leads out');
	unlink $file;
	mkdir $file;
	refused(qr/$name: found a directory, expected a file/m, 'a directory');
	rmdir $file;

	# An error that only both together make.
	defaults('{"ready": "agent"}');
	vmconf_fails(78, qr/$name: ready: found "agent", expected "agent": true beside it/m, 'show', 'a');
	defaults('{"ready": "agent", "agent": true}');
	vmconf_does('show', 'a');
	T::define('a', { %{ definition('a') }, agent => JSON::PP::false });
	vmconf_fails(78, qr/$name: ready: found "agent"/m, 'show', 'a');
	T::define('a', { %{ definition('a') }, agent => JSON::PP::true, cups => 1 });
	vmconf_fails(78, qr/^vmconf: \Q$config\E\/a\.json: cups: unknown key/m, 'show', 'a');
	T::define('a', { accel => 'tcg', memory => '64M', args => ['-S'] });
};

subtest 'VMs that run while it is wrong' => sub {
	defaults('{"cpus": ');
	is(state_of('b')->{state}, 'running', 'list knows that it runs');
	ok(state_of('b')->{broken}, 'and that it could not be started again');
	my $pid = state_of('b')->{supervisor};
	kill('KILL', $pid);
	wait_until('it has no supervisor', sub { state_of('b')->{state} eq 'unmanaged' });
	like((vmconf('start', 'b'))[1], qr/^b/, 'it is taken over');
	is(state_of('b')->{state}, 'running', 'all the same');
	like((vmconf('stop', '--kill', 'b'))[2], qr/b is not killed: .*whether it is protected is not known/, 'not known whether it is protected');
	vmconf_does('stop', 'b');
	is(state_of('b')->{state}, 'stopped', 'it stops');
	like((vmconf('start', 'b'))[2], qr/\Q$file\E: line 1/, 'and is not started');
};

subtest 'protect' => sub {
	defaults('{"protect": true}');
	vmconf_fails(1, qr/^vmconf: a is protected/, 'delete', 'a');
	vmconf_does('set', 'a', 'protect=false');
	vmconf_does('delete', 'a');
	T::define('broken', { cups => 1 });
	vmconf_fails(1, qr/^vmconf: broken is protected/, 'delete', 'broken');
};

done_testing;
