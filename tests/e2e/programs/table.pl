# Hashes, closures, sorting and short sleeps.
use strict;
use warnings;
use Time::HiRes qw(usleep);
use Digest::MD5 qw(md5_hex);
$| = 1;
my (%table, $sum);
my $next = do { my $x = 12345; sub { $x = ($x * 1103515245 + 12345) & 0x7fffffff } };
for my $step (0 .. 59) {
    $table{$next->() % 50000} .= "s$step," for 1 .. 800;
    my @keys = sort { $a <=> $b } keys %table;
    usleep(10_000) if $step % 3 == 0;
    $sum = md5_hex(join '|', map { "$_=$table{$_}" } @keys[0 .. ($#keys < 999 ? $#keys : 999)]);
    print "step $step ", scalar(@keys), " $sum\n";
}
