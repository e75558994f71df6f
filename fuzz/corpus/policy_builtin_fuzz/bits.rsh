bits.rsh
[-5, 1]