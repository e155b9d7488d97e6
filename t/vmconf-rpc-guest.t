#!/usr/bin/perl
# A real guest through vmconf rpc: created, asked for its address, stopped gracefully, deleted. And agents that say nothing.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;
use Rpc;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $disk = make_disk();
my $guest = T::guest_files();
my $r = rpc_start();
$r->ask('create-vm', { 'vm-id' => 'web', memory => '128M', nics => [{ type => 'user' }], set => {
	accel => 'tcg', machine => 'q35', kernel => "$guest/vmlinuz", initrd => "$guest/initrd-agent", agent => JSON::PP::true, console => 'none',
	append => T::guest_append('normal', agent => 'obeys', append => 'serve=22'), args => ['-serial', "file:$work/console"],
	disks => [{ path => $disk, format => 'raw' }] } }, id => 'web');
is_deeply([map { $_->{response}{status} } $r->next_answer, $r->next_answer], ['allocating', 'starting'], 'created and started');
wait_until('the guest', sub { my $text = slurp("$work/console"); $text =~ /guest: listening/ && $text =~ /guest: serving/ });

my $addresses;
wait_until('an address', sub {
	$r->ask('list-vms');
	my ($vm) = @{ $r->next_answer->{response}{vms} };
	$addresses = $vm->{'ip-addresses'};
	return $vm->{status} eq 'running' && @$addresses;
});
ok((grep { $_ eq '10.0.2.15' } @$addresses), 'its address in list-vms') or diag(explain($addresses));
$r->ask('vm-info', { 'vm-id' => 'web' });
my $info = $r->next_answer->{response};
ok((grep { $_ eq '10.0.2.15' } @{ $info->{'ip-addresses'} }), 'and in vm-info');
is($info->{'run-state'}, 'running', 'which asks QEMU');

$r->ask('stop-vm', { 'vm-id' => 'web', within => '120s' });
is_deeply($r->next_answer, { 'execution-info' => { status => 'success' }, response => { 'vm-id' => 'web', status => 'stopped' } }, 'stopped');
like(slurp("$work/console"), qr/guest: down/, 'by the guest itself');
ok(disk_is_clean($disk), 'file system clean');
$r->ask('delete-vm', { 'vm-id' => 'web' });
is($r->next_answer->{response}{status}, 'deleted', 'deleted');
ok(!definition('web') && -e $disk, 'the VM, and not a disk that was there before');
is(($r->finish)[0], 0, 'the end');

# Agents that do not answer: all of them together cost a second.
my @silent = map { running(fake => ['agent=silent'], agent => 'fake', name => "silent$_") } 1 .. 4;
my $speaks = running(fake => [], agent => 'fake', name => 'speaks');
$speaks->fake(set => { 'agent-returns' => { 'guest-network-get-interfaces' => '[{"ip-addresses": [{"ip-address": "10.0.0.7"}, {"ip-address": "fe80::1"}]}]' } });
my $began = time;
my ($list) = rpc_answers(request('list-vms'));
my $took = time - $began;
is_deeply({ map { $_->{'vm-id'} => $_->{'ip-addresses'} } @{ $list->{response}{vms} } }, { speaks => ['10.0.0.7'], map { ("silent$_" => []) } 1 .. 4 },
	'the others have theirs');
cmp_ok($took, '<', 3.5, 'all are asked at once') or diag($took);
$began = time;
my $table = vmconf_does('list', '--addresses');
cmp_ok(time - $began, '<', 3.5, 'the same as a table');
like($table, qr/^NAME .* BOOT  ADDRESSES$/m, 'with a column');
like($table, qr/^speaks .* -  10\.0\.0\.7$/m, 'of addresses');
like($table, qr/^silent1 .* -  $/m, 'and nothing where nothing is known');
like(vmconf_does('list', '--addresses', '--long'), qr/^NAME .* BOOT  DISKS  MACS  ADDRESSES\n(.*\n)*speaks .*  -      -     10\.0\.0\.7$/m, 'beside those of --long');
ok(!exists JSON::PP::decode_json(vmconf_does('list', '--json'))->{vms}[0]{addresses}, 'list asks nobody by itself');
for my $s (@silent, $speaks) {
	$s->signal('QUIT');
	$s->end;
}

done_testing;
