#!/usr/bin/perl
# vmconf-amqp on a real RabbitMQ: three hosts, real guests, and clients as one writes them; the broker is killed in between.
use strict;
use warnings;
use File::Path qw(make_path);
use FindBin;
use JSON::PP;
use lib $FindBin::Bin;
use Rabbit;
use T;

need_rabbit();
need(qw(qemu-system-x86_64 mke2fs dumpe2fs));
my $rabbit = Rabbit->new(['one', 'secret', 'project1'], ['two', 'secret', 'project2'], ['three', 'secret', 'project3']);
my %pids;
my $image = "$work/base.qcow2";
system('qemu-img', 'create', '-q', '-f', 'qcow2', $image, '16M') == 0 or die;

# ---- hosts ----

sub dirs {
	my ($host) = @_;
	return ("QEMU_SUPERVISE_CONFIG_DIR=$work/$host/config", "QEMU_SUPERVISE_STATE_DIR=$work/$host/state",
		"QEMU_SUPERVISE_RUNTIME_DIR=$work/$host/run");
}

sub log_of { return slurp("$work/$_[0].log") }

sub bridge_starts {
	my ($host, $user, @options) = @_;
	make_path("$work/$host/state/images");
	symlink($image, "$work/$host/state/images/base.qcow2");
	my $file = spew("$work/$host.password", "secret\n");
	chmod(0600, $file);
	return $pids{$host} = spawn_in_net("$work/$host.log", 'env', dirs($host), "$top/vmconf-amqp", '--name', $host,
		'--url', "amqp://$user->[0]\@localhost/$user->[1]", '--password-file', $file, @options);
}

sub bridge {
	my ($host, @rest) = @_;
	my $before = () = log_of($host) =~ /connected to the broker/g;
	bridge_starts($host, @rest);
	wait_connected($host, $before + 1);
}

sub wait_connected {
	my ($host, $times) = @_;
	wait_until(sub { "$host is connected\n" . log_of($host) }, sub { (() = log_of($host) =~ /connected to the broker/g) >= $times });
}

sub bridge_ends {
	my ($host) = @_;
	kill('TERM', $pids{$host});
	waitpid(delete $pids{$host}, 0);
	return $?;
}

# vmconf on a host.
sub on_host {
	my ($host, @words) = @_;
	my ($status, $out, $err) = run_command(in_net('env', dirs($host), "$top/vmconf", @words));
	is($status, 0, "$host: vmconf @words[0 .. ($#words < 1 ? $#words : 1)]") or diag($err);
	return $out;
}

sub vms_on {
	my @names = sort map { m{([^/]+)\.json$} } glob("$work/$_[0]/config/*.json");
	return @names;
}

# Those requests on a host that were begun and are not answered.
sub begun { return grep { slurp($_) =~ /^[1-9]/ } glob("$work/$_[0]/state/.amqp/[mw]*") }

my @one = ['one', 'project1'];
my @hosts = qw(h1 h2 h3);
bridge($_, @one) for @hosts;
my $c = Rabbit->client('amqp://one:secret@localhost/project1');

# ---- create, list, delete ----

my @names = qw(a b c d);
for my $name (@names) {
	my @answers = $c->ask({ command => 'create-vm', options => { 'vm-id' => $name, image => 'base.qcow2', start => JSON::PP::false } }, status => 'stopped');
	is_deeply([map { $_->{response}{status} } @answers], ['allocating', 'stopped'], "$name is made") or diag(explain(\@answers));
	like($answers[-1]{'execution-info'}{host}, qr/^h[123]$/, 'and its host has a name');
}
my %where = map { my $host = $_; map { $_ => $host } vms_on($host) } qw(h1 h2 h3);
is(join(' ', sort keys %where), "@names", 'each is on one host');
my @lists = $c->ask({ command => 'list-vms' }, last => 3);
is(join(' ', sort map { $_->{'vm-id'} } map { @{ $_->{response}{vms} } } @lists), "@names", 'list-vms: all hosts answer');
is(join(' ', sort map { $_->{'execution-info'}{host} } @lists), 'h1 h2 h3', 'each for itself');
my ($info) = $c->ask({ command => 'vm-info', id => 7, options => { 'vm-id' => 'a' } });
is($info->{'execution-info'}{host}, $where{a}, 'vm-info: the host that has it');
is($info->{id}, 7, 'the id of the request comes back');
my @deleted = $c->ask({ command => 'delete-vm', options => { 'vm-id' => 'd' } });
is($deleted[0]{'execution-info'}{status}, 'success', 'd is deleted');
is_deeply([$c->ask({ command => 'start-vm', options => { 'vm-id' => 'd' } }, within => 2)], [], 'what no host has, no host answers for');

# ---- a guest ----

my ($host, $definition) = ($where{a}, T::guest_definition('normal', disk => make_disk("$work/a.disk"), console => "$work/a.console"));
my @set = map { my $value = $definition->{$_}; "$_=" . (ref $value ? encode_json($value) : $value) } grep { $_ ne 'agent' } keys %$definition;
on_host($host, 'set', 'a', @set);

# QEMU, which runs then, has emptied the console's file.
sub up { wait_until(sub { "the guest listens\n" . slurp("$work/a.console") }, sub { slurp("$work/a.console") =~ /guest: listening/ }) }

sub ask_about_a {
	my ($command, $status, %options) = @_;
	my ($answer) = $c->ask({ command => $command, options => { 'vm-id' => 'a', %options } });
	is($answer->{response}{status}, $status, "$command: $status") or diag(explain($answer), log_of($host));
	return $answer;
}

ask_about_a('start-vm', 'running');
up();
is(ask_about_a('start-vm', 'running')->{response}{hint} ? 1 : 0, 1, 'started again: there is a hint');
ask_about_a('stop-vm', 'stopped');
ok(disk_is_clean("$work/a.disk"), 'the guest has shut down');
is(ask_about_a('stop-vm', 'stopped')->{response}{hint} ? 1 : 0, 1, 'stopped again: there is a hint');

# The broker is killed while each is done, and the client, which connects again, asks again.
sub broker_dies_during {
	my ($body, $begun, %o) = @_;
	my %times = map { my $times = () = log_of($_) =~ /connected to the broker/g; $_ => $times } @hosts;
	my @asked = ($body, id => "$body->{command}-$times{h1}");
	$c->ask(@asked, last => 0);
	wait_until("$body->{command} is begun", $begun);
	$rabbit->kill;
	$rabbit->start;
	wait_connected($_, $times{$_} + 1) for @hosts;
	$c = Rabbit->client('amqp://one:secret@localhost/project1');
	my @answers = $c->ask(@asked, %o);
	wait_until('nothing is left to be answered', sub { !grep { begun($_) } @hosts });
	return @answers;
}

sub broker_dies_during_a {
	my ($command, $status, %options) = @_;
	my ($answer) = broker_dies_during({ command => $command, options => { 'vm-id' => 'a', %options } }, sub { begun($host) });
	is($answer->{response}{status}, $status, "$command, and the broker dies: $status") or diag(explain($answer), log_of($host));
}

broker_dies_during_a('start-vm', 'running');
up();
broker_dies_during_a('stop-vm', 'stopped');
ok(disk_is_clean("$work/a.disk"), 'the guest has shut down');
ask_about_a('start-vm', 'running');
up();
broker_dies_during_a('stop-vm', 'cut-off', kill => JSON::PP::true);
broker_dies_during_a('delete-vm', 'deleted');
is(join(' ', vms_on($host)) =~ /\ba\b/ ? 1 : 0, 0, 'a is gone');

# A host that lost the broker with its answer may not be the one that is asked again: then two have made it, and each says so.
sub who_has { my ($name) = @_; return grep { grep { $_ eq $name } vms_on($_) } @hosts }
my $create = { command => 'create-vm', options => { 'vm-id' => 'e', image => 'base.qcow2', start => JSON::PP::false } };
my @created = broker_dies_during($create, sub { grep({ begun($_) } @hosts) || who_has('e') }, status => 'stopped');
is($created[-1]{response}{status}, 'stopped', 'create-vm, and the broker dies: made') or diag(explain(\@created));
my $maker = $created[-1]{'execution-info'}{host};
ok((grep { $_ eq $maker } who_has('e')), 'by the host that says so');
my @listing = broker_dies_during({ command => 'list-vms' }, sub { 1 }, last => 3);
is(join(' ', sort map { $_->{'execution-info'}{host} } @listing), "@hosts", 'list-vms, and the broker dies: all hosts answer');
my @with_e = map { $_->{'execution-info'}{host} } grep { grep { $_->{'vm-id'} eq 'e' } @{ $_->{response}{vms} } } @listing;
is(join(' ', sort @with_e), join(' ', who_has('e')), 'and tell who has it');

# ---- what a client cannot do ----

sub refused {
	my ($body, $reason, $what, %o) = @_;
	my ($answer) = $c->ask($body, key => 'create-vm', %o);
	is($answer->{'execution-info'}{status}, 'error', "$what: an error");
	like($answer->{'execution-info'}{reason}, $reason, 'with the reason');
}

refused({ command => 'create-vm', options => { image => '/etc/shadow' } }, qr/image/, 'a path for an image');
refused({ command => 'create-vm', options => { image => '../x' } }, qr/image/, 'a path that goes up');
refused({ command => 'create-vm', options => { image => 'base.qcow2', set => { args => ['-fsdev'] } } }, qr/no option set/, 'arguments of QEMU');
refused({ command => 'create-vm', options => { image => 'base.qcow2', nics => [{ type => 'tap' }] } }, qr/no option nics/, 'a network of the host');
refused({ command => 'watch' }, qr/no command watch/, 'a command without an end');
refused({ command => 'list-vms', options => [] }, qr/options/, 'options of a wrong type');
refused('{"command": ', qr/not JSON/, 'half of a request');
refused("{\"command\": \"list-vms\xff\"}", qr/not JSON/, 'bytes that are not UTF-8');
refused({ command => 'x' x 300_000 }, qr/no command xxx/, 'a long command');
refused('{"command": "create-vm", "options": {"image": "' . 'x' x 2_000_000 . '"}}', qr/too long/, 'two megabytes');

# ---- projects apart ----

bridge('p2', ['two', 'project2']);
my $c2 = Rabbit->client('amqp://two:secret@localhost/project2');
is_deeply([map { @{ $_->{response}{vms} } } $c2->ask({ command => 'list-vms' }, last => 2, within => 2)], [], 'another project sees no VM of this one');
is_deeply([$c2->ask({ command => 'delete-vm', options => { 'vm-id' => 'b' } }, within => 2)], [], 'and cannot delete one');
like(join(' ', map { vms_on($_) } qw(h1 h2 h3)), qr/\bb\b/, 'it is still there');
my (undef, undef, $no) = run_command(in_net('/usr/bin/python3', '-c',
	'import pika; pika.BlockingConnection(pika.URLParameters("amqp://two:secret@localhost/project1"))'));
like($no, qr/refused|ACCESS/i, 'nor enter the other virtual host');

is(bridge_ends('p2'), 0, 'p2 ends');

# ---- limits, topologies, TLS ----

bridge_ends($_) for qw(h1 h2 h3);
bridge('full', @one, '--max-vms', '0');
bridge('small', @one, '--max-memory', '100M');
my @none = $c->ask({ command => 'create-vm', options => { image => 'base.qcow2', start => JSON::PP::false } }, within => 4);
is_deeply(\@none, [], 'hosts without room leave it to others');
bridge('roomy', @one);
wait_until('the one with room takes it', sub { vms_on('roomy') == 1 });
is(vms_on('full') + vms_on('small'), 0, 'and they have none');
is(bridge_ends($_), 0, "$_ ends") for qw(full small roomy);

bridge('q', ['three', 'project3'], '--topology', 'queue');
my $c3 = Rabbit->client('amqp://three:secret@localhost/project3');
my @queue = (exchange => '', key => 'vm-queue');
my $direct = Rabbit->client('amqp://three:secret@localhost/project3', 'direct');
my ($early) = $direct->ask({ command => 'list-vms' }, @queue);
is_deeply($early->{response}{vms}, [], 'amq.rabbitmq.reply-to');
my @made = $c3->ask({ command => 'create-vm', options => { 'vm-id' => 'one', image => 'base.qcow2', start => JSON::PP::false } }, @queue, status => 'stopped');
is($made[-1]{response}{'vm-id'}, 'one', 'vm-queue: a VM is made');
my ($unknown) = $c3->ask({ command => 'stop-vm', options => { 'vm-id' => 'nothing' } }, @queue);
like($unknown->{'execution-info'}{reason}, qr/no VM nothing/, 'and what is not there is an error');

# What was begun before, and cannot be read.
$c3->ask({ command => 'list-vms' }, @queue, id => 'odd');
my ($noted) = glob("$work/q/state/.amqp/m*");
unlink($noted);
mkdir($noted);
$c3->post({ command => 'list-vms' }, @queue, id => 'odd');
wait_until('it cannot be read', sub { log_of('q') =~ /whether a request was begun before cannot be read/ });
rmdir($noted);
is(($c3->answers)[0]{'execution-info'}{status}, 'success', 'what cannot be read is not none: it is done when it can be');

# The second one waits for the first.
my $first = delete $pids{q};
bridge_starts('q', ['three', 'project3'], '--topology', 'queue');
wait_until(sub { log_of('q') }, sub { log_of('q') =~ /another vmconf-amqp works/ });
kill('KILL', $first);
waitpid($first, 0);
wait_connected('q', 2);
my ($listed) = $c3->ask({ command => 'list-vms' }, @queue);
is(scalar @{ $listed->{response}{vms} }, 1, 'two for one host: the second takes over');

# TERM: the request at hand is finished.
spew("$work/slow/vmconf", "#!/bin/sh\n: >$work/slow/begun\nwhile [ ! -e $work/slow/go ]; do sleep 0.05; done\n"
		. 'echo \'{"execution-info": {"status": "success"}, "response": {"status": "done"}}\'' . "\n") if make_path("$work/slow");
chmod(0755, "$work/slow/vmconf");
system('cp', "$top/vmconf-amqp", "$work/slow/") == 0 or die;
bridge_ends('q');
$pids{q} = spawn_in_net("$work/q.log", 'env', dirs('q'), "$work/slow/vmconf-amqp", '--name', 'q', '--topology', 'queue',
	'--url', 'amqp://three:secret@localhost/project3');
$c3->post({ command => 'list-vms' }, @queue);
wait_until('the request is begun', sub { -e "$work/slow/begun" });
kill('TERM', $pids{q});
wait_until('TERM has been heard', sub { log_of('q') =~ /ending when/ });
spew("$work/slow/go", '');
is(($c3->answers)[0]{response}{status}, 'done', 'TERM: the request at hand is answered');
waitpid(delete $pids{q}, 0);
is($?, 0, 'and then it ends');

# One that is never answered.
spew("$work/slow/vmconf", "#!/bin/sh\nexit 1\n");
$pids{q} = spawn_in_net("$work/q.log", 'env', dirs('q'), "$work/slow/vmconf-amqp", '--name', 'q', '--topology', 'queue',
	'--url', 'amqp://three:secret@localhost/project3');
my ($given_up) = $c3->ask({ command => 'list-vms' }, @queue);
like($given_up->{'execution-info'}{reason}, qr/too often/, 'a request that is begun three times and never answered');
spew("$work/slow/vmconf", "#!/bin/sh\n"
		. 'echo \'{"execution-info": {"status": "success"}, "response": {"status": "allocating"}}\'' . "\n");
my @halves = $c3->ask({ command => 'create-vm', options => { disk => '1M' } }, @queue, status => 'starting');
is_deeply([map { $_->{response}{status} // $_->{'execution-info'}{status} } @halves], [('allocating') x 3, 'error'],
	'nor is one done whose last answer is missing');
my $peek = 'import pika,sys; c = pika.BlockingConnection(pika.URLParameters("amqp://three:secret@localhost/project3")); '
	. 'print(c.channel().basic_get("vm-queue-dead", True)[2].decode())';
my (undef, $dead) = run_command(in_net('/usr/bin/python3', '-c', $peek));
like($dead, qr/list-vms/, 'is in the queue of the dead');
is(bridge_ends('q'), 0, 'q ends');

# TLS.
my $etc = "$rabbit->{dir}/etc";
my @tls = ('--url', 'amqps://three@localhost/project3', '--topology', 'queue', '--password-file', "$work/h1.password", '--ca', "$etc/ca.pem");
$pids{t} = spawn_in_net("$work/t.log", 'env', dirs('t'), "$top/vmconf-amqp", @tls, '--cert', "$etc/host.pem", '--key', "$etc/host.key");
wait_connected('t', 1);
is(bridge_ends('t'), 0, 'amqps, with a certificate for each side');
$pids{t} = spawn_in_net("$work/u.log", 'env', dirs('t'), "$top/vmconf-amqp", @tls[0 .. 5], '--ca', "$etc/host.pem");
wait_until('the other CA is noticed', sub { log_of('u') =~ /no connection to the broker/ });
is(bridge_ends('t'), 0, 'not with a broker that another CA has signed');
chmod(0644, "$work/h1.password");
$pids{t} = spawn_in_net("$work/v.log", 'env', dirs('t'), "$top/vmconf-amqp", @tls);
wait_until('the password file is refused', sub { log_of('v') =~ /others can read it/ });
is(bridge_ends('t'), 0, 'nor with a password that all can read');

on_host($_->[0], 'delete', $_->[1]) for map { my $h = $_; map { [$h, $_] } vms_on($h) } qw(h1 h2 h3 roomy q);
undef $_ for $c, $c2, $c3, $direct;
done_testing();
