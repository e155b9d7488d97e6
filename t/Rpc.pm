# vmconf rpc for tests: one that runs, whose answers are read as they come, and one that is given all requests at once.
package Rpc;

use strict;
use warnings;
use Exporter qw(import);
use JSON::PP ();
use T;

our @EXPORT = qw(rpc_start rpc_answers request quick_vm @seen);

my $json = JSON::PP->new->canonical->utf8;
our @seen;	# every line of an answer

# A request as a line; options are undef for none.
sub request {
	my ($command, $options, %more) = @_;
	return $json->encode({ command => $command, ($options ? (options => $options) : ()), %more }) . "\n";
}

# Options of create-vm for a VM that starts and stops in no time: its CPUs never run.
sub quick_vm {
	my (%more) = @_;
	my $set = delete $more{set} || {};
	return { memory => '64M', nics => [], set => { accel => 'tcg', args => ['-S'], %$set }, %more };
}

sub rpc_start {
	my (@options) = @_;
	pipe(my $in, my $to) or die;
	pipe(my $from, my $out) or die;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDIN, '<&', $in);
		open(STDOUT, '>&', $out);
		open(STDERR, '>>', "$work/rpc.err");
		close($_) for $to, $from;
		exec($ENV{T_VMCONF} || "$top/vmconf", 'rpc', @options) or POSIX::_exit(127);
	}
	close($_) for $in, $out;
	$to->autoflush(1);
	$from->blocking(0);
	return bless { pid => $pid, to => $to, from => $from, buffer => '', answers => [], parse => 1 }, 'Rpc';
}

sub pid { return $_[0]{pid} }

# Writes text as it is; an rpc that has ended is no error.
sub send {
	my ($r, @text) = @_;
	local $SIG{PIPE} = 'IGNORE';
	print { $r->{to} } @text;
}

sub ask {
	my ($r, @request) = @_;
	$r->send(request(@request));
}

# Whether it has closed its output; takes what there is.
sub _more {
	my ($r) = @_;
	my $got = sysread($r->{from}, $r->{buffer}, 1 << 20, length $r->{buffer});
	while ($r->{buffer} =~ s/^([^\n]*)\n//) {
		push @seen, $1;
		push @{ $r->{answers} }, $json->decode($1);
	}
	return defined $got && $got == 0;
}

# The next answer; undef: there will be none.
sub next_answer {
	my ($r) = @_;
	my $over = 0;
	T::wait_until('an answer', sub { @{ $r->{answers} } || $over || do { $over = $r->_more; @{ $r->{answers} } || $over } });
	return shift @{ $r->{answers} };
}

# Whether there is an answer already.
sub has_answer {
	my ($r) = @_;
	$r->_more;
	return scalar @{ $r->{answers} };
}

# Ends its input and waits for its end. The exit status, and the answers that were left.
sub finish {
	my ($r) = @_;
	close($r->{to});
	return $r->ended;
}

sub ended {
	my ($r) = @_;
	my @left;
	while (my $answer = $r->next_answer) {
		push @left, $answer;
	}
	waitpid($r->{pid}, 0);
	return ($? & 127 ? 128 + ($? & 127) : $? >> 8, @left);
}

# All answers to some lines, by an rpc of their own that must end well.
sub rpc_answers {
	my @lines = @_;
	my @options = ref $lines[0] ? @{ shift @lines } : ();
	my $r = rpc_start(@options);
	my $writer = fork // die "fork: $!";	# of more than a pipe holds
	if ($writer == 0) {
		$r->send(@lines);
		close($r->{to});
		POSIX::_exit(0);
	}
	my ($status, @answers) = $r->finish;
	waitpid($writer, 0);
	is($status, 0, 'rpc ends with status 0') if $status != 0;
	return @answers;
}

1;
