#!/usr/bin/perl
# A port of the host that leads to one of the guest, said in every way in which a list of strings can be said.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Socket::INET;
use JSON::PP ();
use T;

need('qemu-system-x86_64');

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $guest = guest_files();
my ($ssh, $web) = ('tcp:127.0.0.1:0-:22', 'tcp:127.0.0.1:0-:80');	# QEMU chooses a port that is free

# What is there only while QEMU runs: host ports by those of the guest.
sub ports {
	my $text = vmconf_does('qmp', 'web', 'human-monitor-command', '{"command-line": "info usernet"}');
	return { reverse $text =~ /HOST_FORWARD\] +\d+ +127\.0\.0\.1 +(\d+) +\S+ +(\d+)/g };
}

# The guest listens again after each connection.
sub heard {
	my ($port) = @_;
	return wait_until("the guest on port $port", sub {
		my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or return;
		return readline $socket;
	});
}

sub starts_with {
	my ($nic, $expected, $what) = @_;
	my $vm = definition('web');
	$vm->{nics} = [$nic] if $nic;
	spew("$config/web.json", JSON::PP->new->canonical->encode($vm));
	is(vmconf_does('check', 'web'), '', "$what: check says nothing");
	vmconf_does('start', 'web');
	my $ports = ports();
	is_deeply([sort { $a <=> $b } keys %$ports], $expected, "$what: forwards") or diag(slurp("$config/web.json"));
	my $heard = $ports->{22} && heard($ports->{22});
	vmconf_does('stop', 'web');
	return $heard;
}

# ---- create ----
vmconf_does('create', 'web', '--memory', '128M', '--nic', "user,hostfwd=$ssh,hostfwd=$web,dnssearch=example.org", '--set', 'accel=tcg', '--set',
	"kernel=$guest/vmlinux", '--set', "initrd=$guest/initrd", '--set', 'append=' . T::guest_append('normal', append => 'serve=22'), '--set',
	'ready=listening');
is_deeply([@{ definition('web')->{nics}[0] }{'hostfwd', 'dnssearch'}], [[$ssh, $web], ['example.org']], 'twice the key makes a list');
is(starts_with(undef, [22, 80], '--nic'), "guest: hello\n", 'and leads into the guest');

# ---- set: anew with each call ----
vmconf_does('set', 'web', "nics.0.hostfwd=$ssh", 'nics.0.dnssearch=');
is_deeply(definition('web')->{nics}[0]{hostfwd}, [$ssh], 'set replaces the list');
vmconf_does('set', 'web', "nics.0.hostfwd.1=$web");
is_deeply(definition('web')->{nics}[0]{hostfwd}, [$ssh, $web], 'a number adds to it');
vmconf_does('set', 'web', "nics.0.hostfwd=[\"$web\"]", 'cpus=1', "nics.0.hostfwd=$ssh");
is_deeply(definition('web')->{nics}[0]{hostfwd}, [$web, $ssh], 'twice the key, one of them a list');
is(starts_with(undef, [22, 80], 'set'), "guest: hello\n", 'and leads into the guest');
vmconf_does('set', 'web', 'nics.0.hostfwd=');
ok(!exists definition('web')->{nics}[0]{hostfwd}, 'without a value it is removed');

# ---- the file ----
is(starts_with({ type => 'user', hostfwd => $ssh }, [22], 'a string'), "guest: hello\n", 'a string in the file');
is(starts_with({ type => 'user', hostfwd => [$web, { str => $ssh }] }, [22, 80], 'a list'), "guest: hello\n", 'a list, also with what QEMU has');

done_testing;
