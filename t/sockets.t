#!/usr/bin/perl
# The sockets of a VM with a definition, with the real QEMU: there before it runs, each with a chardev behind it,
# for one client after another, and removed at the end.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64');

# A machine whose guest never runs.
sub vm {
	my (%keys) = @_;
	return running(definition => { emulator => 'qemu-system-x86_64', accel => 'tcg', memory => '16M', args => ['-S'], %keys });
}

sub sockets {
	my ($s) = @_;
	return join(' ', grep { -S $s->dir . "/$_" } qw(agent console control qmp));
}

# Whether QEMU serves a client on one of them.
sub connected {
	my ($q, $name) = @_;
	my ($chardev) = grep { $_->{label} eq "qemu-supervise-$name" } @{ $q->command('query-chardev') };
	return $chardev->{filename} !~ /^disconnected/;
}

my $s = vm(agent => JSON::PP::true);
is(sockets($s), 'agent console control qmp', 'with an agent');
my $q = $s->qmp;
for my $name ('agent', 'console') {
	for my $turn ('first', 'second') {
		ok(!connected($q, $name), "$name: nobody before the $turn client");
		my $client = IO::Socket::UNIX->new(Peer => $s->dir . "/$name") or die "$name: $!";
		ok(wait_until('the client', sub { connected($q, $name) }), "$name: the $turn client is served");
		close($client);
		wait_until('the end of the client', sub { !connected($q, $name) });
	}
}
$s->signal('QUIT');
$s->ends_with(0, qr/no guest/, 'with an agent');

$s = vm(console => 'none');
is(sockets($s), 'control qmp', 'without');
is($s->state->{agent}, undef, 'state.json: no agent');
$s->signal('QUIT');
$s->ends_with(0, qr/no guest/, 'without');

done_testing;
