# A real RabbitMQ in a root and a network namespace of its own, and clients of it: what the tests of vmconf-amqp share.
package Rabbit;

use strict;
use warnings;
use Exporter qw(import);
use File::Path qw(make_path);
use IPC::Open2;
use JSON::PP;
use POSIX ();
use T;

our @EXPORT = qw(need_rabbit in_net spawn_in_net);
my $name = "qs-amqp-$$";
my @made;

sub need_rabbit {
	need(qw(mmdebstrap systemd-nspawn ip openssl qemu-img));
	need_that('the test runs as root', sub { $> == 0 });
	need_that('vmconf-amqp is built', sub { -x "$top/vmconf-amqp" });
	need_that('python3-pika is installed', sub { system('/usr/bin/python3 -c "import pika" 2>/dev/null') == 0 });
}

# The words of a command in the broker's network.
sub in_net { return ('ip', 'netns', 'exec', $name, @_) }

# One that runs until its end; its output goes to a file.
sub spawn_in_net {
	my ($log, @command) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>>', $log);
	open(STDERR, '>&', \*STDOUT);
	my @words = in_net(@command);
	{ no warnings 'exec'; exec { $words[0] } @words; }
	POSIX::_exit(127);
}

# users: a list of [user, password, virtual host]. The broker is up.
sub new {
	my ($class, @users) = @_;
	my $r = bless { dir => "$work/rabbit", pid => 0, starts => 0 }, $class;
	system("$top/t/host-root", '--own-usr', "$top/build/rabbitmq", 'rabbitmq-server') == 0 or die "t/host-root failed\n";
	push @made, $r;
	system('ip', 'netns', 'add', $name) == 0 && system('ip', '-n', $name, 'link', 'set', 'lo', 'up') == 0 or die "ip netns failed\n";
	make_path(map { "$r->{dir}/$_" } qw(data etc));
	$r->certificates;
	spew("$r->{dir}/etc/hosts", "127.0.0.1 localhost\n");
	my %hosts = map { $_->[2] => 1 } @users;
	spew("$r->{dir}/etc/definitions.json", encode_json({
		vhosts => [map { { name => $_ } } keys %hosts],
		users => [map { { name => $_->[0], password => $_->[1], tags => '' } } @users],
		permissions => [map { { user => $_->[0], vhost => $_->[2], configure => '.*', write => '.*', read => '.*' } } @users],
	}));
	spew("$r->{dir}/etc/rabbitmq.conf", join "\n", 'load_definitions = /etc/rabbitmq/definitions.json', 'listeners.ssl.default = 5671',
		'ssl_options.cacertfile = /etc/rabbitmq/ca.pem', 'ssl_options.certfile = /etc/rabbitmq/broker.pem',
		'ssl_options.keyfile = /etc/rabbitmq/broker.key', 'ssl_options.verify = verify_peer', 'ssl_options.fail_if_no_peer_cert = true', '');
	$r->start;
	return $r;
}

# A CA, and what it has signed for the broker and for a host.
sub certificates {
	my ($r) = @_;
	my $etc = "$r->{dir}/etc";
	spew("$work/openssl.log", '');
	my $do = sub { system("openssl @_ >>$work/openssl.log 2>&1") == 0 or die slurp("$work/openssl.log") };
	$do->("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout $etc/ca.key -out $etc/ca.pem");
	for my $who (qw(broker host)) {
		$do->("req -newkey rsa:2048 -nodes -subj /CN=$who -keyout $etc/$who.key -out $etc/$who.csr");
		spew("$etc/ext", 'subjectAltName=DNS:localhost');
		$do->("x509 -req -days 2 -in $etc/$who.csr -CA $etc/ca.pem -CAkey $etc/ca.key -CAcreateserial -extfile $etc/ext -out $etc/$who.pem");
	}
	system("chmod a+r $etc/*");
}

sub start {
	my ($r) = @_;
	my ($uid, $gid) = (split /:/, (grep { /^rabbitmq:/ } split /\n/, slurp("$top/build/rabbitmq/root/etc/passwd"))[0])[2, 3];
	system('chown', '-R', "$uid:$gid", "$r->{dir}/data");
	my $log = "$r->{dir}/log." . ++$r->{starts};
	$r->{pid} = fork // die "fork: $!";
	if ($r->{pid} == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', $log);
		open(STDERR, '>&', \*STDOUT);
		exec('systemd-nspawn', '--quiet', "--directory=$top/build/rabbitmq/root", '--volatile=overlay', "--machine=$name-$r->{starts}",
			'--register=no', '--keep-unit', '--as-pid2', '--console=pipe', "--network-namespace-path=/run/netns/$name",
			"--bind=$r->{dir}/data:/var/lib/rabbitmq", "--bind-ro=$r->{dir}/etc:/etc/rabbitmq", "--bind-ro=$r->{dir}/etc/hosts:/etc/hosts", '--setenv=RABBITMQ_NODENAME=rabbit@localhost',
			'--setenv=RABBITMQ_LOGS=-', '--setenv=ERL_EPMD_ADDRESS=127.0.0.1', '--setenv=HOME=/var/lib/rabbitmq', '--user=rabbitmq',
			'/usr/bin/env', '-u', 'NOTIFY_SOCKET', '/usr/lib/rabbitmq/bin/rabbitmq-server') or POSIX::_exit(127);
	}
	wait_until(sub { "the broker\n" . slurp($log) }, sub {
		die "the broker has ended: " . slurp($log) if waitpid($r->{pid}, POSIX::WNOHANG()) == $r->{pid};
		return slurp($log) =~ /Server startup complete/;
	});
}

# Its power goes.
sub kill {
	my ($r) = @_;
	my @all = ($r->{pid}, children($r->{pid}));
	CORE::kill('KILL', reverse @all);
	waitpid($r->{pid}, 0);
	$r->{pid} = 0;
}

END {
	my $status = $?;
	for my $r (@made) {
		$r->kill if $r->{pid};
		system('ip', 'netns', 'delete', $name);
	}
	$? = $status;
}

# ---- clients ----

# One that sends requests and collects answers (t/amqp-client).
sub client {
	my ($class, @words) = @_;
	my $pid = open2(my $out, my $in, in_net('/usr/bin/python3', "$top/t/amqp-client", @words));
	return bless { pid => $pid, in => $in, out => $out }, 'Rabbit::Client';
}

package Rabbit::Client;

# Sends a request, with key => routing key (its command), exchange, id => its message_id, and returns its answers: until one of
# them is the last => N-th, or has a status => that; or a message after TIME.
sub ask {
	my ($c, @words) = @_;
	$c->post(@words);
	return $c->answers;
}

# The two halves of that.
sub post {
	my ($c, $body, %o) = @_;
	print { $c->{in} } JSON::PP->new->canonical->encode({ body => $body, %o }), "\n";
	$c->{in}->flush;
}

sub answers {
	my ($c) = @_;
	return @{ JSON::PP::decode_json(readline($c->{out}) // die "the client has ended\n") };
}

sub DESTROY {
	my ($c) = @_;
	close($c->{in});
	waitpid($c->{pid}, 0);
}

1;
