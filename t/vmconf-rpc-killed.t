#!/usr/bin/perl
# vmconf rpc is killed at random moments, and its request is delivered again: it is done once, and answered.
# T_SEED chooses the same moments again, T_ROUNDS how many.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;
use Rpc;
use Time::HiRes qw(usleep);

need(qw(qemu-img qemu-system-x86_64));

my $rounds = $ENV{T_ROUNDS} || 50;
my $seed = $ENV{T_SEED} || int(rand(1 << 31));
srand($seed);
diag("T_SEED=$seed");
my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $json = JSON::PP->new->canonical->utf8;
my $false = JSON::PP::false;

sub vms { return map { m{/([^/]+)\.json$} } glob "$config/*.json" }

# ---- what a killed one has left, as it might be ----

my %create = (disk => '1M', nics => [], start => $false);

sub record { return "$state/.rpc/s$_[0].json" }

# As if it had been killed before it was done.
sub undone {
	my ($id, %changes) = @_;
	my $record = $json->decode(slurp(record($id)));
	spew(record($id), $json->encode({ %$record, done => $false, answers => [], %changes }));
}

subtest 'a create that was cut off' => sub {
	my @create = ('create-vm', \%create, id => 'c');
	my @first = rpc_answers(request(@create));
	undone('c');
	is_deeply([rpc_answers(request(@create))], \@first, 'after the VM was made: answered with that');
	undone('c');
	vmconf_does('delete', vms());
	is_deeply([rpc_answers(request(@create))], \@first, 'before it was made: made with the same name');
	is(scalar(vms()), 1, 'one VM');
	my ($vm) = vms();
	undone('c', uuid => 'f81d4fae-7dec-41d0-a765-00a0c91e6bf6');
	my ($taken) = rpc_answers(request(@create));
	like($taken->{'execution-info'}{reason}, qr/^a VM $vm already exists/, 'one that somebody else has made is not taken for it');
	ok(-e record('c') && $json->decode(slurp(record('c')))->{done}, 'and that is the answer');
	vmconf_does('delete', $vm);
};

subtest 'a delete that was cut off' => sub {
	vmconf_does('create', 'web', '--disk', '1M');
	my @delete = ('delete-vm', { 'vm-id' => 'web' }, id => 'd');
	my @first = rpc_answers(request(@delete));
	is($first[0]{response}{status}, 'deleted', 'deleted');
	undone('d');
	is_deeply([rpc_answers(request(@delete))], \@first, 'it is gone already');
	undone('d');
	vmconf_does('create', 'web', '--disk', '1M');
	is_deeply([rpc_answers(request(@delete))], \@first, 'the same if there is another one of its name');
	ok(definition('web'), 'which is left alone');
	vmconf_does('delete', 'web');
};

# ---- killed at random moments ----

my $takes = 0.1;	# seconds, about
my (%made, %count);
for my $round (1 .. $rounds) {
	my $starts = $round % 5 == 0;
	my $create = $starts ? quick_vm() : \%create;
	my ($last, $kills, $delivered) = ($starts ? 'starting' : 'stopped', 0, 0);
	my @answers;
	until (@answers && $answers[-1]{response}{status} eq $last) {
		my $r = rpc_start();
		$r->ask('create-vm', $create, id => "round $round");
		$delivered++;
		if ($kills < 3) {	# the fourth may end
			usleep(rand($takes * ($starts ? 5 : 1.2)) * 1e6);
			# Alone, or with the vmconfs that it has begun, as a host's power cut or its service manager does.
			my @with = $round % 2 ? grep { slurp("/proc/$_/cmdline") =~ /^vmconf\0/ } children($r->pid) : ();
			$kills++ if kill('KILL', $r->pid, @with);
		} else {
			close($r->{to});
		}
		@answers = ();
		while (my $answer = $r->next_answer) {
			push @answers, $answer;
			last if ($answer->{response}{status} || $last) eq $last;
		}
		kill('KILL', $r->pid);
		waitpid($r->pid, 0);
		my ($error) = grep { $_->{'execution-info'}{status} ne 'success' } @answers;
		last if $error && diag(explain($error));
	}
	is_deeply([map { $_->{response}{status} } @answers], ['allocating', $last], "$round: answered after $delivered deliveries");
	$count{$delivered}++;
	$made{ $answers[-1]{response}{'vm-id'} }++;
	$takes *= $delivered > 2 ? 1.1 : 0.9;
}
diag(join ', ', map { "$count{$_} after $_" } sort keys %count);
is(scalar(keys %made), $rounds, 'each made a VM of its own');
wait_until('the end of what killed ones have begun', sub { !grep { slurp("/proc/$_/cmdline") =~ /^vmconf\0/ } children($$) });
is_deeply([sort(vms())], [sort keys %made], 'and there are no others');
is_deeply([grep { /\.(journal|state\.new)/ } glob "$state/.*"], [], 'nothing is half done');
my ($status, $out, $err) = vmconf('check');
is("$status$out$err", '0', 'check says nothing') or diag($err);
is((vmconf('delete', '--kill', sort keys %made))[0], 0, 'all deleted');
is_deeply([sort map { s{.*/}{}r } glob "$state/*"], [], 'and nothing is left');

done_testing;
