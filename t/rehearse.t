#!/usr/bin/perl
# vmconf rehearse: how long a stop of all would take, from earlier stops; and the shares of a deadline.
use strict;
use warnings;
use FindBin;
use JSON::PP ();
use lib $FindBin::Bin;
use T;

my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $json = JSON::PP->new->canonical;

# The history of a VM whose stops took so many seconds; what a stop was like, if it was not plain.
sub stops {
	my ($name, @stops) = @_;
	my $text = '';
	for my $stop (@stops) {
		my %line = (version => 1, event => 'end', time => '2026-01-01T00:00:00.000000Z', ended => 1, status => 0, words => '', trigger => 'TERM',
			from => 'x', rungs => [], presses => 1, ref $stop ? %$stop : (seconds => $stop));
		$text .= $json->encode({ version => 1, event => 'start', started => 1 }) . "\n" . $json->encode(\%line) . "\n";
	}
	mkdir($_, 0700) for $state, "$state/$name";
	spew("$state/$name/history.jsonl", $text);
}

sub define {
	my ($name, $order, %more) = @_;
	T::define($name, { %{ T::fake_definition("$work/fake-$name", fake_qemu()) }, order => $order, %more });
}

sub rehearsed {
	my ($expected, @words) = @_;
	my ($status, $out, $err) = vmconf('rehearse', '--json', @words);
	is($status, $expected, "rehearse @words: status $expected") or diag($out, $err);
	my $all = JSON::PP::decode_json($out);
	return ($all, { map { $_->{name} => $_ } @{ $all->{vms} } });
}

define('db', 0);
define('web', 10);
define('proxy', 10, on => { TERM => 'powerdown 40s, quit 5s, kill' });
define('any', 20, on => { TERM => 'powerdown forever' });

subtest 'what is known of a VM' => sub {
	my %needs = (
		'of 20 stops the 18th' => [18, 20, 'history', 1 .. 20],
		'of more the last 20' => [5, 20, 'history', (500) x 10, (5) x 20],
		'of 3 the longest' => [9, 3, 'history', 2, 9, 4],
		'of 2 none: the ladder' => [220, 2, 'ladder', 1, 1],
		'what a deadline cut does not count' => [220, 2, 'ladder', 1, 1, { seconds => 1, status => 80, deadline => JSON::PP::true }],
		'but what met one' => [1, 3, 'history', 1, 1, { seconds => 1, deadline => JSON::PP::true }],
		'nor what was not a stop' => [220, 0, 'ladder', map { { seconds => 1, trigger => 'QUIT' } } 1 .. 5],
		'nor what died' => [220, 0, 'ladder', map { { seconds => 1, status => 83 } } 1 .. 5],
		'nor what makes no sense' => [0, 3, 'history', map { { seconds => $_ } } -1, 1e300, 0],
	);
	for my $what (sort keys %needs) {
		my ($seconds, $stops, $from, @ends) = @{ $needs{$what} };
		stops('db', @ends);
		my (undef, $vm) = rehearsed(0, 'db');
		is_deeply([@{ $vm->{db} }{qw(needs stops known-from)}], [$seconds, $stops, $from], $what);
	}
};

subtest 'order by order' => sub {
	stops('db', (10) x 3);
	stops('web', (4) x 3);
	stops('proxy', 1);
	my ($all, $vm) = rehearsed(0, qw(db web proxy));
	is($all->{takes}, 55, 'one after the other');
	is(join(' ', map { "$_->{name} $_->{begins} $_->{down}" } @{ $all->{vms} }), 'proxy 0 45 web 0 4 db 45 55', 'the higher ones first');
	($all) = rehearsed(0, qw(db web proxy), '--within', '2m');
	ok($all->{fits}, 'time enough');
	($all, $vm) = rehearsed(1, qw(db web proxy), '--within', '40s');
	is($all->{within}, 40, 'not enough');
	is_deeply([map { $vm->{$_}{cut} ? "$_ at $vm->{$_}{'cut-at'}" : () } qw(db proxy web)], ['proxy at powerdown'], 'who is cut, and where');
	cmp_ok($vm->{db}{begins}, '<', 40, 'the next order does not wait for it beyond its share');
	($all, $vm) = rehearsed(1, qw(any db), '--within', '60s');
	is_deeply([$vm->{any}{needs}, $vm->{any}{down}, $all->{takes}], [undef, undef, undef], 'a ladder without an end');
	is($vm->{db}{cut}, JSON::PP::false, 'leaves time for the others');
	($all) = rehearsed(0, 'any');
	ok($all->{fits}, 'and all the time there is fits in none');
	($all) = rehearsed(0, qw(db proxy db));
	is(join(' ', map { $_->{name} } @{ $all->{vms} }), 'proxy db', 'one that is named twice counts once');
	($all, $vm) = rehearsed(1, qw(db proxy), '--within', '0');
	is_deeply([map { @$_{qw(name begins cut)} } @{ $all->{vms} }],
		['proxy', 0, JSON::PP::true, 'db', 0, JSON::PP::true], 'no time: all at once, and cut');
};

subtest 'for people' => sub {
	my ($status, $out) = vmconf('rehearse', qw(db web proxy), '--within', '40s');
	is($status, 1, 'status 1');
	is(join('', grep { length > 80 } split /\n/, $out), '', 'at most 80 columns');
	like($out, qr/^ +10  proxy +45\.0s  its ladder +0\.0s +45\.0s\n +proxy would be cut at 40s, while it is at powerdown$/m, 'who is cut');
	like($out, qr/^ +0  db +10\.0s  3 stops/m, 'what is known');
	like($out, qr/^1 of 3: fewer than 3 stops are known, so the ladder's longest time counts$/m, 'what is not');
	like($out, qr/^not all would be down within 40s: /m, 'what that means');
	like(vmconf_does('rehearse', 'db', '--within', '1m'), qr/^all would be down after 10\.0s, within 60s$/m, 'or that it fits');
	like(vmconf_does('rehearse'), qr/^all would be down after 0\.0s$/, 'no VM is up');
	$out = vmconf_does('rehearse', 'any');
	like($out, qr/^ +20  any +forever  its ladder +0\.0s +forever$/m, 'a ladder without an end');
	like($out, qr/^not all would ever be down by themselves\n\z/m, 'and what that means');
	($status, $out) = vmconf('rehearse', 'any', 'db', '--within', '60s');
	is($status, 1, 'it fits into no time');
	like($out, qr/^not all would be down within 60s: that takes forever\n\z/m, 'which is told');
	vmconf_fails(1, qr/there is no VM nowhere/, 'rehearse', 'nowhere');
	vmconf_fails(64, qr/--within x: not a time/, 'rehearse', '--within', 'x');
};

# The adapter is asked as check asks it, with what the VM needs.
subtest 'what the init system does' => sub {
	local $ENV{QEMU_SUPERVISE_INIT} = spew("$work/adapter", "#!/bin/sh\n[ \$1 != list-enabled ] || { echo db; exit 0; }\n"
		. "[ \$1 = check ] && [ \$QEMU_SUPERVISE_STOP_TIME -le 5 ] && exit 0\necho \"adapter: \$2: cut after 5 s\" >&2\nexit 3\n");
	chmod(0755, "$work/adapter");
	my (undef, $vm) = rehearsed(0, qw(db web));
	is_deeply([map { $vm->{$_}{'init-cuts'} } qw(db web)], [JSON::PP::true, JSON::PP::false], 'is told');
	($vm) = rehearsed(0);
	is(join(' ', map { $_->{name} } @{ $vm->{vms} }), 'db', 'and one that the host starts is up soon');
};

# By what each needs, not in equal parts: of 40 s the first, which needs a tenth of the other, has a tenth.
subtest 'the shares of a deadline' => sub {
	define('first', 10, on => { TERM => 'powerdown 60s, quit 5s, kill' });
	define('last', 0);
	T::define('first', { %{ definition('first') }, emulator => T::fake_definition("$work/fake-first", fake_qemu('ignore=system_powerdown'))->{emulator} });
	stops('first', (1) x 3);
	stops('last', (9) x 3);
	vmconf_does('start', 'first', 'last');
	my ($all, $vm) = rehearsed(0, '--within', '40s');
	is_deeply([sort keys %$vm], ['first', 'last'], 'those that are up');
	my $begun = time;
	my ($status, $out, $err) = vmconf('stop', '--all', '--within', '40s');
	is($status, 80, 'the first one is cut') or diag($err);
	cmp_ok(time - $begun, '<', 55, 'in time');
	my %at = map { $_ => last_end($_)->{time} =~ /T(\d+):(\d+):([\d.]+)Z/ && ($1 * 60 + $2) * 60 + $3 } qw(first last);
	is(last_end('last')->{status}, 0, 'the other one is shut down');
	my $left = ($at{first} - $at{last}) % 86400;
	cmp_ok($left, '>', 22, 'whose turn came long before: not after half of the time') or diag($left);
};

done_testing;
