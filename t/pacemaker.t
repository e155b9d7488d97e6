#!/usr/bin/perl
# A cluster of two hosts with corosync and Pacemaker: a VM is a resource of it, and runs once, whatever happens to hosts and
# supervisors.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cluster;
use JSON::PP ();
use T;

Cluster::need_cluster();
my ($h1, $h2) = Cluster->new;
my $fence = "$work/shared/fence";
my ($disk, $console, $log) = map { "$work/shared/$_" } qw(vm.disk vm.console state/vm/log);
make_disk($disk);
spew("$work/shared/config/vm.json", JSON::PP->new->canonical->encode({
	machine => 'q35', accel => 'tcg', memory => '128M', kernel => '/guest/vmlinux', initrd => '/guest/initrd',
	append => T::guest_append('normal'), disks => [{ path => '/shared/vm.disk', format => 'raw' }], nics => [], console => 'none',
	ready => 'listening', args => ['-serial', 'file:/shared/vm.console']
}));

sub starts { return scalar(() = slurp($log) =~ /: QEMU runs/g) - (() = slurp($log) =~ /: taking over QEMU/g) }

# Waits until the VM runs on a node, and until the cluster knows.
sub runs_on {
	my ($h, $what) = @_;
	my $vm;
	wait_until(sub { "$what\n" . $h->journal }, sub {
		$vm = $h->vm('vm');
		($vm->{state} // '') eq 'running' && $vm->{ready} && ($h->does('crm_resource', '-r', 'vm', '--locate'))[1] =~ /running on: $h->{name}\b/;
	});
	pass($what);
	return $vm;
}

# ---- the cluster ----
$_->boot for $h1, $h2;
$_->wait_booted for $h1, $h2;
wait_until(sub { "both being online\n" . $h1->journal }, sub { ($h1->does('crm_mon', '-1'))[1] =~ /Online: \[ h1 h2 \]/ });
my $agent = 'ocf:qemu-supervise:qemu-supervise';
like($h1->ok_does('crm_resource', '--show-metadata', $agent), qr/<action name="stop" timeout="400s"/, 'it knows the agent');
$h1->ok_does('crm', '-F', 'configure', 'property', 'stonith-action=off', 'stonith-timeout=200s');
$h1->ok_does('crm', '-F', 'configure', 'primitive', 'fence', 'stonith:fence_stub', 'params', 'pcmk_host_list=h1 h2', 'pcmk_host_check=static-list');
$h1->ok_does('crm', '-F', 'configure', 'primitive', 'vm', $agent, 'params', 'name=vm', 'config_dir=/shared/config', 'state_dir=/shared/state',
	'op', 'start', 'timeout=200s', 'op', 'stop', 'timeout=400s', 'op', 'monitor', 'interval=5s', 'timeout=60s');
$h1->ok_does('crm_attribute', '--type', 'rsc_defaults', '--name', 'resource-stickiness', '--update', '100');
wait_until(sub { "the VM\n" . $h1->journal }, sub { grep { ($_->vm('vm')->{state} // '') eq 'running' } $h1, $h2 });
my ($here, $there) = ($h1->vm('vm')->{state} // '') eq 'running' ? ($h1, $h2) : ($h2, $h1);
my $vm = runs_on($here, 'the cluster starts the VM');
is(starts(), 1, 'once');
is($there->vm('vm')->{state}, 'elsewhere', 'the other host knows that it runs elsewhere');

# ---- actions by hand ----
is(($here->does('crm_resource', '-r', 'vm', '--force-check'))[0], 0, '--force-check');
is(($there->does('crm_resource', '-r', 'vm', '--force-check'))[0], 7, '--force-check on the other host: not running');
like(join('', $here->does('crm_resource', '-r', 'vm', '--validate')), qr{fencing must work: /shared/state/vm is on}, 'validate-all names what it doubts');
like(($there->does('vmconf', 'start', 'vm'))[2], qr/vm runs on another host/, 'vmconf start on the other host is refused');
is(($there->does('qemu-supervise', 'vm'))[0], 75, 'a supervisor there, too');
is(($there->does('vmconf', 'stop', '--all'))[0], 0, 'stop --all there');
is($here->vm('vm')->{pid}, $vm->{pid}, 'leaves it alone');

# ---- its supervisor is killed ----
$here->ok_does('kill', '-KILL', $vm->{supervisor});
my $next;
wait_until(sub { "another supervisor\n" . $here->journal }, sub { ($next = $here->vm('vm'))->{state} eq 'running' && ($next->{supervisor} || $vm->{supervisor}) != $vm->{supervisor} });
ok($next->{supervisor}, 'its supervisor is killed: monitor has another one take it over');
is($next->{pid}, $vm->{pid}, 'the guest does not notice');
is(($here->does('crm_failcount', '-r', 'vm', '-N', $here->{name}, '--query'))[1] =~ /value=(\d+)/ ? $1 : 0, 0, 'and no failure is counted');

# ---- standby ----
$here->ok_does('crm', 'node', 'standby', $here->{name});
runs_on($there, 'standby: the VM runs on the other host');
like(slurp($log), qr/ended: the guest powered itself off \(status 0\).*\n(?:.*\n)*.*: QEMU runs/, 'after its guest has powered itself off');
is(starts(), 2, 'once');
$here->ok_does('crm', 'node', 'online', $here->{name});
wait_until('both being online', sub { ($there->does('crm_mon', '-1'))[1] =~ /Online: \[ h1 h2 \]/ });
($here, $there) = ($there, $here);

# A reload reads no parameter: the VM is restarted, or monitor would look in another place than start.
$here->ok_does('crm_resource', '-r', 'vm', '--set-parameter', 'locks', '--parameter-value', 'hold');
wait_until(sub { "a restart\n" . $here->journal }, sub { starts() == 3 });
runs_on($here, 'another parameter: a restart');

# ---- a host is lost, but its VM runs ----
$vm = $here->vm('vm');
$here->ok_does('pkill', '-STOP', '-x', 'corosync');
wait_until(sub { "fencing\n" . $there->journal }, sub { -e "$fence/$here->{name}.wanted" });
is($here->vm('vm')->{pid}, $vm->{pid}, 'a host is lost: its VM still runs');
is(starts(), 3, 'and no other does before it is fenced');
is(($there->does('vmconf', 'start', 'vm'))[0], 1, 'nor could it');
$here->cut;
spew("$fence/$here->{name}.done", '');
runs_on($there, 'when it is fenced, the other host starts the VM');
is(starts(), 4, 'once');
like(slurp($log), qr/nobody saw the last end of this VM: the host went down with it/, 'which knows why');

# ---- the last host goes down ----
$there->poweroff;
is(JSON::PP::decode_json((split /\n/, slurp("$work/shared/state/vm/history.jsonl"))[-1])->{status}, 0, 'the host goes down: so does the guest');
ok(disk_is_clean($disk), 'and its file system is clean');

done_testing;
