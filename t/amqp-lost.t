#!/usr/bin/perl
# vmconf-amqp is killed again and again while it works: each request is done once, and answered. And many hosts at one broker.
# T_SOAK: 1,000 requests and 50 kills, 200 hosts.
use strict;
use warnings;
use File::Path qw(make_path);
use FindBin;
use JSON::PP;
use lib $FindBin::Bin;
use Rabbit;
use T;

need_rabbit();
my ($requests, $kills, $hosts) = $ENV{T_SOAK} ? (1000, 50, 200) : (60, 6, 20);
my $rabbit = Rabbit->new(['one', 'secret', 'project1'], ['two', 'secret', 'project2']);

sub bridge {
	my ($host, $user, $project, @options) = @_;
	my $file = spew("$work/password", "secret\n");
	chmod(0600, $file);
	return spawn_in_net("$work/$host.log", 'env', map({ 'QEMU_SUPERVISE_' . uc($_) . "_DIR=$work/$host/$_" } qw(config state run)),
		"QEMU_SUPERVISE_RUNTIME_DIR=$work/$host/run", "$top/vmconf-amqp", '--name', $host, '--password-file', $file,
		'--url', "amqp://$user\@localhost/$project", @options);
}

sub answered { return scalar(my @vms = glob("$work/victim/config/*.json")) }

# ---- killed ----

my $c = Rabbit->client('amqp://one:secret@localhost/project1');
$c->post({ command => 'create-vm', options => { disk => '1M', start => JSON::PP::false } }, exchange => '', key => 'vm-queue', copies => $requests,
	status => 'stopped', within => 3000);
my $pid = bridge('victim', 'one', 'project1', '--topology', 'queue');
for my $kill (1 .. $kills) {
	my $enough = int($requests * $kill / ($kills + 1));
	wait_until(sub { "$enough VMs\n" . slurp("$work/victim.log") }, sub { answered() >= $enough });
	kill('KILL', $pid);
	waitpid($pid, 0);
	$pid = bridge('victim', 'one', 'project1', '--topology', 'queue');
}
my $answers = [$c->answers];
is(scalar @$answers, $requests, "$requests requests, $kills kills: each is answered");
is(scalar(grep { $_->{'execution-info'}{status} ne 'success' } @$answers), 0, 'and each is a success')
	or diag(explain([grep { $_->{'execution-info'}{status} ne 'success' } @$answers]));
my %vms = map { ($_->{response}{'vm-id'} // '') => 1 } @$answers;
is(scalar keys %vms, $requests, 'with a VM of its own');
is(answered(), $requests, 'and there are no more VMs than that');
kill('TERM', $pid);
waitpid($pid, 0);
is($?, 0, 'it ends');
# One that is killed when the broker has its answer, and before it forgets the request, leaves a note of it for a day.
cmp_ok(scalar(my @notes = glob("$work/victim/state/.amqp/[mw]*")), '<=', $kills, 'and no more notes are left than kills can leave');

# ---- many hosts ----

my @pids = map { bridge("host$_", 'two', 'project2') } 1 .. $hosts;
for my $n (1 .. $hosts) {
	wait_until("host$n is connected", sub { slurp("$work/host$n.log") =~ /connected to the broker/ });
}
my $c2 = Rabbit->client('amqp://two:secret@localhost/project2');
my $began = time;
my @lists = $c2->ask({ command => 'list-vms' }, last => $hosts);
note(sprintf '%d hosts have answered after %.2f s', scalar @lists, time - $began);
my %names = map { $_->{'execution-info'}{host} => 1 } @lists;
is(scalar keys %names, $hosts, "list-vms: $hosts hosts answer");
kill('TERM', @pids);
is(scalar(grep { waitpid($_, 0); $? != 0 } @pids), 0, 'and end');
undef $_ for $c, $c2;
done_testing();
