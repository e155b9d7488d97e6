#!/usr/bin/perl
# Ports of the host that lead into guests: "forwards", --forward, the one that create chooses for ssh, and what is found out about them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use T;

need('qemu-system-x86_64', 'qemu-img', 'socat', 'setpriv');

my $config = $ENV{QEMU_SUPERVISE_CONFIG_DIR};
my @small = ('--memory', '256M', '--set', 'accel=tcg');

sub forwards { return definition($_[0])->{forwards} }

sub listener {
	my ($protocol, $port) = @_;
	return IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port || 0, Proto => $protocol, $protocol eq 'tcp' ? (Listen => 5, ReuseAddr => 1) : ())
		|| die "port: $!";
}

# One that nobody has; those of vmconf are left alone.
sub free_port {
	my ($protocol) = @_;
	my $socket = listener($protocol);
	return $socket->sockport;
}

# ---- what create writes ----
vmconf_does('create', 'first', @small);
like(forwards('first')->[0], qr/^(\d+)\+:22$/, 'a port for ssh');
my ($chosen) = forwards('first')->[0] =~ /^(\d+)/;
vmconf_does('create', 'second', @small, '--forward', '8080:80', '--forward', '127.0.0.1:5353:53/udp');
is_deeply([@{ forwards('second') }[0, 1]], ['8080:80', '127.0.0.1:5353:53/udp'], '--forward');
like(forwards('second')->[2], qr/^(\d+)\+:22$/, 'and one for ssh');
my $sits = listener('tcp', $chosen + 1);
my @rest = grep { $_ != $chosen - 1 && $_ != $chosen && $_ != $chosen + 1 } 20000 .. 32767;
T::define('all', { description => "@rest" });	# any number counts
vmconf_does('create', 'third', @small);
is(forwards('third')->[0], $chosen - 1 . '+:22', 'neither that of another VM, nor one in use');
my (undef, undef, $full) = vmconf('create', 'fourth', @small);
like($full, qr/^vmconf: no port from 20000 to 32767 is free: none is forwarded to port 22 of the guest$/m, 'where none is left, that is said');
is(forwards('fourth'), undef, 'and it goes without');
vmconf_does('delete', 'all', 'third', 'fourth');
vmconf_does('create', 'none', @small, '--forward', 'none');
is_deeply(forwards('none'), [], '--forward none');
vmconf_does('create', 'ours', @small, '--forward', '2222:22');
is_deeply(forwards('ours'), ['2222:22'], 'not beside one to port 22');
vmconf_does('create', 'theirs', @small, '--nic', 'user,hostfwd=tcp:127.0.0.1:2223-:22');
is(forwards('theirs'), undef, 'nor beside one in the words of QEMU');
vmconf_does('create', 'apart', @small, '--nic', 'none');
is(forwards('apart'), undef, 'without a nic there is none');
vmconf_does('set', 'first', 'nics.0.type=bridge', 'nics.0.br=br-elsewhere');
vmconf_fails(1, qr/first is not running/, 'ip', 'first');
unlike((vmconf('ssh-config', 'first'))[1], qr/Port/, 'in another network the one that was chosen rests');
vmconf_fails(64, qr/^vmconf: --forward 80: forwards\[0\]: found "80", expected \[HOST:\]PORT:PORT/m, 'create', 'bad', '--forward', '80');
vmconf_fails(64, qr/forwards: found without a nic of "type": "user"/, 'create', 'bad', '--nic', 'none', '--forward', '8080:80');
vmconf_does('clone', 'second', 'copy');
is(forwards('copy')->[0], '8080:80', 'a clone has the same');
my @ssh = map { (/^(\d+)\+/)[0] || () } map { @{ forwards($_) || [] } } qw(first second copy);
is(scalar(keys %{ { map { $_ => 1 } @ssh } }), 3, 'but for the one for ssh');
vmconf_does('delete', 'none', 'ours', 'theirs', 'apart', 'first');

# ---- check ----
vmconf_fails(78, qr/second\.json: forwards\[0\]: port 8080 of the host is forwards\[0\] of copy, too$/m, 'check', 'second');
vmconf_fails(78, qr/second\.json: forwards\[1\]: port 5353 of the host is forwards\[1\] of copy, too$/m, 'check', 'second');
vmconf_does('delete', 'copy');
my $tcp = listener('tcp');
my $udp = listener('udp');
my ($tcp_port, $udp_port) = ($tcp->sockport, $udp->sockport);
vmconf_does('set', 'second', "forwards=[\"$tcp_port:80\", \"$udp_port:53/udp\", \"192.0.2.1:8080:80\", \"$tcp_port+:22/udp\", \"" . ($chosen + 1) . '+:22"]');
my $found = vmconf_fails(78, qr/second\.json: forwards\[0\]: TCP port $tcp_port of 127\.0\.0\.1 is in use$/m, 'check', 'second');
like($found, qr/forwards\[1\]: UDP port $udp_port of 127\.0\.0\.1 is in use$/m, 'UDP, too');
like($found, qr/forwards\[2\]: port 8080 of 192\.0\.2\.1 cannot be had: /m, 'an address of another host');
unlike($found, qr/forwards\[[34]\]/, 'one that may be any is none of these');
SKIP: {
	my $from = slurp('/proc/sys/net/ipv4/ip_unprivileged_port_start');
	skip("ports from $from on are for everybody", 2) if $from < 1024;
	vmconf_does('set', 'second', 'forwards=["1023:80"]');
	my @without = $> == 0 ? ('setpriv', '--bounding-set', '-net_bind_service') : ();
	my ($status, undef, $err) = run_command(@without, $ENV{T_VMCONF} || "$top/vmconf", 'check', 'second');
	is($status, 78, 'below 1024 without the right');
	like($err, qr/forwards\[0\]: only root may have port 1023; take one from 1024 on/, 'and why');
}

# ---- a guest ----
my $guest = T::ssh_guest_files();

sub create {
	my ($name, @forwards) = @_;
	vmconf_does('create', $name, @small, (map { ('--forward', $_) } @forwards), '--set', "kernel=$guest/vmlinux", '--set', "initrd=$guest/initrd-ssh",
		'--set', 'append=' . T::ssh_guest_append('none'));
}

sub banner {
	my ($port) = @_;
	return wait_until("ssh on port $port", sub {
		my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or return;
		return IO::Select->new($socket)->can_read(5) && readline $socket;
	});
}

sub echoed {
	my ($port) = @_;
	return wait_until("an echo of port $port", sub {
		my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'udp') or return;
		$socket->send("hear me\n");
		return IO::Select->new($socket)->can_read(1) && readline $socket;
	});
}

my ($web, $dns) = (free_port('tcp'), free_port('udp'));
create('guest', "$web:22/tcp", "127.0.0.1:$dns:53/udp");
is_deeply(forwards('guest'), ["$web:22/tcp", "127.0.0.1:$dns:53/udp"], 'what was asked for');
vmconf_does('start', 'guest');
is(vmconf_does('check', 'guest'), '', 'ports that the VM itself has are not in use');
like(vmconf_does('status', 'guest'), qr/^forward +127\.0\.0\.1:$web to port 22$/m, 'status tells of them');
like(vmconf_does('status', 'guest'), qr/^forward +127\.0\.0\.1:$dns to port 53, UDP$/m, 'of UDP, too');
like(banner($web), qr/^SSH-2\.0-/, 'TCP leads into the guest');
is(echoed($dns), "hear me\n", 'and UDP');

# ---- ports that are taken meanwhile ----
create('late');
my ($port) = forwards('late')->[0] =~ /^(\d+)\+:22$/ or die;
my $thief = listener('tcp', $port);
is(vmconf_does('check', 'late'), '', 'check does not mind');
my ($status, $out, $err) = vmconf('start', 'late');
is($status, 0, 'it starts all the same');
like($err, qr/^vmconf: late: port $port of 127\.0\.0\.1 is in use; this time (\d+) leads to port 22 of the guest$/m, 'which is said');
my ($instead) = $err =~ /this time (\d+)/;
like(vmconf_does('log', 'late'), qr/port $port of 127\.0\.0\.1 is in use; this time $instead leads to port 22/, 'also in the log');
my ($told) = @{ JSON::PP::decode_json(vmconf_does('status', 'late', '--json'))->{forwards} };
is_deeply($told, { protocol => 'tcp', host => '127.0.0.1', port => $instead, 'guest-port' => 22 }, 'status tells that one');
like(banner($instead || 1), qr/^SSH-2\.0-/, 'and it leads into the guest');
vmconf_does('stop', '--kill', 'late');
close($thief);
unlike(vmconf_does('log', 'late') . (vmconf('start', 'late'))[2], qr/is in use.*is in use/s, 'the next time it is the old one');
like(banner($port), qr/^SSH-2\.0-/, 'which leads into the guest again');
vmconf_does('set', 'late', "forwards=[\"$web:22\"]");
vmconf_does('stop', '--kill', 'late');
vmconf_fails(69, qr/Could not set up host forwarding rule 'tcp:127\.0\.0\.1:$web-:22'/, 'start', 'late');
vmconf_does('stop', '--kill', 'guest');

done_testing;
