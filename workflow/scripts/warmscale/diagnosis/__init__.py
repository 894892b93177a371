"""What is wrong on a machine, one line each: `warmscale doctor`."""
