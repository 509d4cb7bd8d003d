//! Rules in, a verdict out: the web application firewall.
